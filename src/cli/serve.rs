//! `ebb serve`.

use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use ebb_engine::cache::CachePolicy;
use ebb_engine::events::{PreviewMethod, Previews};
use ebb_nodes::Folders as PictureFolders;
use ebb_web::{Access, EngineWorkshop, Folders, Limits, LogBuffer, Server, ServerConfig, StartError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::assemble;
use super::failure::{Done, Failure};
use super::options::{EngineOptions, FolderOptions};

const EXAMPLES: &str = "\
Examples:
  ebb serve
          On http://127.0.0.1:8188, with models/, input/ and output/ of the current folder
  ebb serve --base-directory ~/ComfyUI --front-end ~/venv/lib/python3.12/site-packages/comfyui_frontend_package/static
          ComfyUI's folders and ComfyUI's front end
  EBB_TOKEN=$(openssl rand -hex 16) ebb serve --listen 0.0.0.0 --host box.lan
          For other machines, behind a token, also under a name
  ebb serve --prefer-resident 4 --preview-method latent2rgb --log-format json
          Jobs whose models are in memory first, pictures of every step, a log for machines";

/// Arguments of `ebb serve`.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The address to listen on; beyond this machine only with --token
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", env = "EBB_LISTEN")]
    listen: IpAddr,
    /// The port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8188, env = "EBB_PORT")]
    port: u16,
    /// The official front end's folder of static files, served in place of ebb's editor
    #[arg(long, value_name = "DIR", visible_alias = "front-end-root")]
    front_end: Option<PathBuf>,
    /// Times a job may be passed over for one whose models are in memory; 0 keeps the order
    #[arg(long, value_name = "N", default_value_t = 0)]
    prefer_resident: u32,
    /// Pictures of a sampler's steps, for jobs that don't say which they want
    #[arg(long, value_enum, value_name = "METHOD", default_value_t = PreviewChoice::None)]
    preview_method: PreviewChoice,
    /// Pixels of a preview's longer side
    #[arg(long, value_name = "PIXELS", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=4096))]
    preview_size: u32,
    /// How the log is written to the standard error; RUST_LOG says how much of it
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(flatten)]
    access: AccessOptions,
    #[command(flatten)]
    limits: LimitOptions,
    #[command(flatten)]
    folders: FolderOptions,
    /// Where settings and what browsers store are kept [default: BASE/user]
    #[arg(long, value_name = "DIR", visible_alias = "user-directory", help_heading = "Folders")]
    user: Option<PathBuf>,
    /// Where the queue and the history are kept [default: USER/ebb]
    #[arg(long, value_name = "DIR", help_heading = "Folders")]
    data: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineOptions,
    /// Adds the model-free nodes of tests/testing-nodes, which exercise the execution model
    #[cfg(feature = "testing-nodes")]
    #[arg(long)]
    testing_nodes: bool,
}

impl Arguments {
    /// Nodes beside the product's own: none, but in a test build that is asked for them.
    fn more_nodes(&self) -> assemble::MoreNodes {
        #[cfg(feature = "testing-nodes")]
        if self.testing_nodes {
            return ebb_testing_nodes::register;
        }
        |_| Ok(())
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

/// How nodes picture what is not finished yet.
#[derive(Clone, Copy, ValueEnum)]
enum PreviewChoice {
    /// Not at all
    None,
    /// As latent2rgb
    Auto,
    /// Coloured by a linear map: costs next to nothing
    Latent2rgb,
    /// Decoded by the small autoencoder in models/vae_approx, where there is one
    Taesd,
}

impl From<PreviewChoice> for PreviewMethod {
    fn from(choice: PreviewChoice) -> Self {
        match choice {
            PreviewChoice::None => Self::None,
            PreviewChoice::Auto => Self::Auto,
            PreviewChoice::Latent2rgb => Self::Latent2Rgb,
            PreviewChoice::Taesd => Self::Taesd,
        }
    }
}

/// Who may speak to the server.
#[derive(clap::Args)]
#[command(next_help_heading = "Access")]
struct AccessOptions {
    /// The secret that every request must bring (16 characters or more)
    #[arg(long, value_name = "SECRET", env = "EBB_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A host name under which the server is reached; may be given several times
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Let pages of this origin speak to the server; without a value, of any
    #[arg(long, value_name = "ORIGIN", num_args = 0..=1, default_missing_value = "*")]
    enable_cors_header: Option<String>,
    /// Several users, told apart by the comfy-user header
    #[arg(long)]
    multi_user: bool,
}

/// Bounds on what a caller may ask for.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
struct LimitOptions {
    /// MiB of a request's body that is no upload
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = mebibytes)]
    max_body: usize,
    /// MiB of an upload
    #[arg(long, value_name = "MIB", default_value_t = 100, visible_alias = "max-upload-size", value_parser = mebibytes)]
    max_upload: usize,
    /// Nodes of a workflow
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_nodes: usize,
    /// Jobs that may wait
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    max_queued: u64,
    /// Finished jobs that the history keeps
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_history: u64,
}

/// A limit that fits into memory, and lets anything through.
fn mebibytes(text: &str) -> Result<usize, String> {
    let most = 1 << 20;
    match text.parse() {
        Ok(mib) if (1..=most).contains(&mib) => Ok(mib),
        Ok(mib) => Err(format!("{mib} MiB is not from 1 to {most}")),
        Err(_) => Err(format!("`{text}` is no number of MiB")),
    }
}

pub(super) fn run(arguments: Arguments) -> Done {
    let logs = LogBuffer::new();
    start_log(arguments.log_format, &logs);
    let config = config(&arguments)?;
    config.check()?;
    let (folders, options) = (&arguments.folders, &arguments.engine);
    let engine = assemble::engine_with(folders, options, CachePolicy::LastRun, arguments.more_nodes())?;
    ebb_nodes::prepare();
    let mut workshop = EngineWorkshop::new(engine);
    if arguments.prefer_resident > 0 {
        workshop = workshop.planning();
    }
    assemble::runtime()?.block_on(serve(config, workshop, logs)).map_err(Failure::other)
}

async fn serve(config: ServerConfig, workshop: EngineWorkshop, logs: LogBuffer) -> Result<(), StartError> {
    let server = Server::bind(config, Arc::new(workshop), logs).await?;
    // Scripts wait for this line to learn the port.
    println!("http://{}", server.address()?);
    let stopped = async {
        stop().await;
        // Whoever asks twice does not want to wait for the step that runs. Nothing is lost: the next start takes up
        // what this one leaves, as after a kill.
        tokio::spawn(async {
            stop().await;
            tracing::warn!("told to stop a second time: ended at once");
            std::process::exit(130);
        });
    };
    server.run(stopped).await;
    Ok(())
}

/// Ctrl-C, or the signal by which service managers end a process.
async fn stop() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}

fn config(arguments: &Arguments) -> Done<ServerConfig> {
    let Arguments { listen, port, front_end, prefer_resident, access, limits, folders, user, data, .. } =
        arguments;
    let previews = Previews { method: arguments.preview_method.into(), size: arguments.preview_size };
    let PictureFolders { input, output, temp } = folders.pictures();
    let user = user.clone().unwrap_or_else(|| folders.base_directory.join("user"));
    let data = data.clone().unwrap_or_else(|| user.join("ebb"));
    let defaults = Limits::default();
    let mut queue = defaults.queue;
    queue.max_queued = limits.max_queued;
    queue.max_history = limits.max_history;
    Ok(ServerConfig {
        listen: SocketAddr::new(*listen, *port),
        folders: Folders { input, output, temp, user, data },
        models: Arc::new(folders.models()?.absolute()),
        front_end: front_end.clone(),
        access: Access {
            token: access.token.clone(),
            hosts: access.host.clone(),
            cors: access.enable_cors_header.clone(),
            multi_user: access.multi_user,
        },
        limits: Limits {
            body: limits.max_body << 20,
            upload: limits.max_upload << 20,
            nodes: limits.max_nodes,
            queue,
            ..defaults
        },
        prefer_resident: *prefer_resident,
        previews,
        argv: public_arguments(std::env::args()),
    })
}

/// The program's arguments without the secret, which `/system_stats` must not show.
fn public_arguments(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut hide_next = false;
    let hide = |argument: String| {
        let hidden = std::mem::replace(&mut hide_next, argument == "--token");
        match argument.split_once('=') {
            _ if hidden => "…".to_owned(),
            Some(("--token", _)) => "--token=…".to_owned(),
            _ => argument,
        }
    };
    arguments.map(hide).collect()
}

/// Lines to the standard error, and the last ones kept for clients.
fn start_log(format: LogFormat, logs: &LogBuffer) {
    let filter = || EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let kept = fmt::layer().with_ansi(false).with_writer(logs.clone()).with_filter(filter());
    let shown = match format {
        LogFormat::Text => {
            let coloured = std::io::stderr().is_terminal();
            fmt::layer().with_ansi(coloured).with_writer(std::io::stderr).with_filter(filter()).boxed()
        }
        LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).with_filter(filter()).boxed(),
    };
    tracing_subscriber::registry().with(kept).with(shown).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_among_the_public_arguments() {
        let shown = |line: &str| public_arguments(line.split(' ').map(str::to_owned)).join(" ");
        assert_eq!(shown("ebb serve --token s3cret --port 1"), "ebb serve --token … --port 1");
        assert_eq!(shown("ebb serve --token=s3cret"), "ebb serve --token=…");
    }
}

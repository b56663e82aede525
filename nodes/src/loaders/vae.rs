//! `VAELoader`.

use std::sync::Arc;

use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_models::taesd::Scaling;
use ebb_weights::detect::Part;
use ebb_weights::{ModelFolders, WeightSource};

use super::parts::{self, Opened};
use super::{fingerprint, open};
use crate::environment::Environment;
use crate::values::{Vae, VaeKind};

/// No autoencoder: pictures are their own latents.
const PIXELS: &str = "pixel_space";

/// TAESD's sets: the name in workflows, which begins the names of its two files, and how the family that it is for
/// scales its latents.
const TAESD: [(&str, Scaling); 4] = [
    ("taesd", Scaling { scale: 0.18215, shift: 0.0 }),
    ("taesdxl", Scaling { scale: 0.13025, shift: 0.0 }),
    ("taesd3", Scaling { scale: 1.5305, shift: 0.0609 }),
    ("taef1", Scaling { scale: 0.3611, shift: 0.1159 }),
];
/// Where TAESD's files are.
const APPROXIMATE: &str = "vae_approx";

/// Encoder and decoder of one of TAESD's sets, if both are there.
fn taesd_files(models: &ModelFolders, name: &str) -> Option<[String; 2]> {
    let listed = models.list(APPROXIMATE);
    let find = |half: &str| listed.iter().find(|file| file.starts_with(&format!("{name}_{half}."))).cloned();
    Some([find("encoder")?, find("decoder")?])
}

/// An autoencoder in a file of its own.
pub(super) struct VAELoader(pub(super) Environment);

impl VAELoader {
    fn vae(&self, name: &str) -> Result<Vae, NodeError> {
        let Environment { compute, .. } = &self.0;
        if name == PIXELS {
            return Vae::of_kind(VaeKind::Pixels, WeightSource::of_tensors(PIXELS, []), compute);
        }
        if let Some((_, scaling)) = TAESD.iter().find(|(set, _)| *set == name) {
            return self.taesd(name, *scaling);
        }
        let opened = Opened::new(name, &open(&self.0, "vae", "vae_name", name)?)?;
        // A whole checkpoint serves as well: its autoencoder is taken.
        parts::autoencoder(opened.require(Part::Vae)?, &opened.source, &self.0)
    }

    fn taesd(&self, name: &str, scaling: Scaling) -> Result<Vae, NodeError> {
        let [encoder, decoder] = self.taesd_names(name)?;
        let half = |file: &str, half: &str| -> Result<WeightSource, NodeError> {
            let source = WeightSource::of_file(&open(&self.0, APPROXIMATE, "vae_name", file)?);
            Ok(source.renamed(|tensor| Some(format!("taesd_{half}.{tensor}"))))
        };
        let source = half(&encoder, "encoder")?.joined(&half(&decoder, "decoder")?);
        Vae::of_kind(VaeKind::Taesd(scaling), source, &self.0.compute)
    }

    fn taesd_names(&self, name: &str) -> Result<[String; 2], NodeError> {
        taesd_files(&self.0.models, name).ok_or_else(|| {
            let files = format!("{name}_encoder.safetensors and {name}_decoder.safetensors");
            NodeError::input("vae_name", format!("{files} are not both in a {APPROXIMATE} folder"))
        })
    }
}

impl Node for VAELoader {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        let list = move || {
            let sets = TAESD.iter().filter(|(set, _)| taesd_files(&models, set).is_some());
            let sets = sets.map(|(set, _)| (*set).to_owned());
            models.list("vae").into_iter().chain(sets).chain([PIXELS.to_owned()]).collect()
        };
        Schema::new("VAELoader")
            .display("Load VAE")
            .category("loaders")
            .input(Input::listed("vae_name", list))
            .output("VAE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(self.vae(inputs.str("vae_name")?)?))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        let name = inputs.str("vae_name")?;
        if name == PIXELS {
            return Ok(None);
        }
        if TAESD.iter().any(|(set, _)| *set == name) {
            let [encoder, decoder] = self.taesd_names(name)?;
            let one = |file: &str| Ok(open(&self.0, APPROXIMATE, "vae_name", file)?.fingerprint());
            let both: Result<[String; 2], NodeError> = Ok([one(&encoder)?, one(&decoder)?]);
            return Ok(Some(Changed::Fingerprint(both?.join("+"))));
        }
        fingerprint(&self.0, inputs, "vae", &["vae_name"])
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(name) = inputs.str("vae_name") else { return Ok(Forecast::unknown()) };
        Ok(Forecast::output(Sketch::handle(Arc::new(self.vae(name)?))))
    }
}

//! `ControlNetLoader`, `DiffControlNetLoader`.

use std::path::Path;
use std::sync::Arc;

use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_models::source::{Info, Source, Values};
use ebb_weights::WeightSource;
use ebb_weights::detect::{self, Component, Family, Naming, Part};

use super::diffusers;
use crate::environment::Environment;
use crate::loaders::open;
use crate::values::{ControlNet, GuideKind, Model};

/// Marks files whose tensors are differences from a denoiser's.
const DIFFERENCE: &str = "difference";

fn control_net(environment: &Environment, name: &str) -> Result<ControlNet, NodeError> {
    let file = open(environment, "controlnet", "control_net_name", name)?;
    let whole = WeightSource::of_file(&file);
    let refused = |why: String| {
        let mut error = NodeError::model(format!("{name}: {why}"));
        error.input = Some("control_net_name".into());
        error
    };
    let found = detect::components(&whole).map_err(|e| refused(e.to_string()))?;
    let Some(found) = found.into_iter().find(|component| component.part == Part::ControlNet) else {
        return Err(refused(
            "holds no control network: there is neither `input_hint_block` nor `controlnet_cond_embedding` nor \
             `controlnet_blocks` in it"
                .into(),
        ));
    };
    let source = source(&found, &whole).map_err(|e| refused(e.to_string()))?;
    let kind = match found.family {
        Family::ControlNetUnet | Family::ControlNetUnion => GuideKind::Unet,
        Family::T2iAdapter => GuideKind::Adapter,
        Family::ControlNetFlux => GuideKind::Flux,
        Family::ControlNetSd3 => GuideKind::Sd3,
        Family::ControlNetSd35Large => GuideKind::Sd35Large,
        Family::ControlLora => {
            return Err(refused("is a control LoRA; Ebb runs whole control networks".into()));
        }
        _ => return Err(refused("is a control network for a transformer that Ebb does not run".into())),
    };
    let Some(source) = source else {
        return Err(refused(format!("is a {} in a layout that is not known", found.title)));
    };
    if kind == GuideKind::Sd35Large
        && let Some([rows, columns]) = source.shape("y_embedder.mlp.0.weight")
        && rows != columns
    {
        return Err(refused(format!(
            "is a {} of an early kind (its y_embedder is {rows} × {columns}, not square), which Ebb does not run",
            found.title
        )));
    }
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let averages = stem.ends_with("_shuffle") || stem.ends_with("_shuffle_fp16");
    ControlNet::new(kind, source, averages, &environment.compute)
}

/// A control network's tensors under the names that its network reads; `None` where its layout is not known.
fn source(found: &Component, whole: &WeightSource) -> ebb_weights::Result<Option<WeightSource>> {
    let own = found.source(whole);
    Ok(match found.family {
        Family::ControlNetUnet | Family::ControlNetUnion => match found.naming {
            Naming::Diffusers => diffusers::single_file_names(&own),
            _ => Some(own),
        },
        Family::T2iAdapter => adapter_names(&own),
        family => ebb_weights::diffusers::control(family, found.naming, &own)?,
    })
}

/// A T2I adapter's tensors in the original naming; `None` where a file is none.
fn adapter_names(whole: &WeightSource) -> Option<WeightSource> {
    // Diffusers has two blocks under each level, and the halving before them.
    let diffusers = |name: &str| -> Option<String> {
        let name = name.strip_prefix("adapter.")?;
        let Some((level, rest)) = name.strip_prefix("body.").and_then(|n| n.split_once('.')) else {
            return Some(name.to_owned());
        };
        let level: usize = level.parse().ok()?;
        match rest.strip_prefix("resnets.").and_then(|r| r.split_once('.')) {
            Some((block, rest)) => {
                let block: usize = block.parse().ok()?;
                Some(format!("body.{}.{rest}", level * 2 + block))
            }
            None => Some(format!("body.{}.{rest}", level * 2)),
        }
    };
    let is_adapter = |source: &WeightSource| {
        source.contains("body.0.in_conv.weight")
            || (source.contains("conv_in.weight") && source.contains("body.0.block1.weight"))
    };
    let found = if whole.contains("adapter.body.0.resnets.0.block1.weight") {
        whole.renamed(diffusers)
    } else {
        ["", "adapter."].iter().map(|prefix| whole.under(prefix)).find(|source| is_adapter(source))?
    };
    is_adapter(&found).then_some(found)
}

fn fingerprint(environment: &Environment, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
    let file = open(environment, "controlnet", "control_net_name", inputs.str("control_net_name")?)?;
    Ok(Some(Changed::Fingerprint(file.fingerprint())))
}

/// A control network in a file of its own.
pub(super) struct ControlNetLoader(pub(super) Environment);

impl Node for ControlNetLoader {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("ControlNetLoader")
            .display("Load ControlNet Model")
            .category("loaders")
            .input(Input::listed("control_net_name", move || models.list("controlnet")))
            .output("CONTROL_NET")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(control_net(&self.0, inputs.str("control_net_name")?)?))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        fingerprint(&self.0, inputs)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(name) = inputs.str("control_net_name") else { return Ok(Forecast::unknown()) };
        Ok(Forecast::output(Sketch::handle(Arc::new(control_net(&self.0, name)?))))
    }
}

/// Differences from a denoiser's weights, which are added to them.
pub(super) struct DiffControlNetLoader(pub(super) Environment);

impl DiffControlNetLoader {
    fn load(&self, model: &Model, name: &str) -> Result<ControlNet, NodeError> {
        let file = open(&self.0, "controlnet", "control_net_name", name)?;
        let net = control_net(&self.0, name)?;
        if !WeightSource::of_file(&file).contains(DIFFERENCE) {
            return Ok(net);
        }
        let (base, tensors) = (model.tensors(), net.tensors());
        let sums = Sums { differences: tensors.source.clone(), base: base.source.clone() };
        net.added_to(Arc::new(sums), base.name(), &base.identity())
    }
}

/// Differences on the tensors of the same names and shapes.
struct Sums {
    differences: Arc<dyn Source>,
    base: Arc<dyn Source>,
}

impl Source for Sums {
    fn names(&self) -> Vec<String> {
        self.differences.names()
    }

    fn info(&self, name: &str) -> Option<Info> {
        self.differences.info(name)
    }

    fn read(&self, name: &str) -> ebb_models::Result<Values> {
        let difference = self.differences.read(name)?;
        let shape = |source: &Arc<dyn Source>| source.info(name).map(|info| info.shape);
        if shape(&self.base) != shape(&self.differences) {
            return Ok(difference);
        }
        let mut sum = difference.into_f32();
        sum.iter_mut().zip(self.base.read(name)?.into_f32()).for_each(|(sum, base)| *sum += base);
        Ok(Values::F32(sum))
    }
}

impl Node for DiffControlNetLoader {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("DiffControlNetLoader")
            .display("Load ControlNet Model (diff)")
            .category("loaders")
            .input(Input::wire("model", "MODEL"))
            .input(Input::listed("control_net_name", move || models.list("controlnet")))
            .output("CONTROL_NET")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let model = inputs.payload::<Model>("model")?;
        Ok(Outcome::payload(self.load(&model, inputs.str("control_net_name")?)?))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        fingerprint(&self.0, inputs)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(model), Some(name)) = (inputs.what::<Model>("model"), inputs.str("control_net_name"))
        else {
            return Ok(Forecast::unknown());
        };
        Ok(Forecast::output(Sketch::handle(Arc::new(self.load(&model, name)?))))
    }
}

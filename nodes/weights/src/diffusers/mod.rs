//! Tensors in the diffusers library's naming, seen as those of single files: names exchanged, split projections
//! put together, halves exchanged. Views: no value is read.

mod transformers;
mod unet;
mod vae;

use crate::detect::{Family, Naming};
use crate::{Result, TensorView, WeightError, WeightSource};

pub use vae::vae;

/// A denoiser's tensors under the names of its family's single files; `None` where the family has no such
/// translation here.
///
/// # Errors
/// Where tensors that belong together do not fit together.
pub fn denoiser(family: Family, source: &WeightSource) -> Result<Option<WeightSource>> {
    use Family::*;
    Ok(match family {
        Sd1 | Sd1Inpaint | Sd1Edit | Sd2 | Sd2Inpaint | Sd2Unclip | Lotus | Sdxl | SdxlInpaint | SdxlEdit
        | SdxlRefiner => Some(unet::unet(source)),
        FluxDev | FluxSchnell | FluxFill | FluxControl => Some(transformers::flux(source)?),
        Sd3 | Sd35 => Some(transformers::sd3(source, true)?),
        ZImage => Some(transformers::z_image(source)?),
        _ => None,
    })
}

/// A control network's tensors under the names of the transformer that it guides, in that one's single files; `None`
/// where it is of no transformer.
///
/// # Errors
/// Where tensors that belong together do not fit together.
pub fn control(family: Family, naming: Naming, source: &WeightSource) -> Result<Option<WeightSource>> {
    Ok(match (family, naming) {
        (Family::ControlNetFlux, Naming::Diffusers) => {
            Some(control_layers(source).joined(&transformers::flux(source)?))
        }
        (Family::ControlNetFlux, _) => Some(source.renamed(|name| {
            let single = name.strip_prefix("single_controlnet_blocks.");
            Some(single.map_or_else(|| name.to_owned(), |rest| format!("controlnet_single_blocks.{rest}")))
        })),
        (Family::ControlNetSd3, _) => Some(control_layers(source).joined(&transformers::sd3(source, false)?)),
        (Family::ControlNetSd35Large, _) => Some(transformers::sd35_control(source)),
        _ => None,
    })
}

/// What a control network has beside a transformer's blocks.
fn control_layers(source: &WeightSource) -> WeightSource {
    source.renamed(|name| match name.strip_prefix("controlnet_x_embedder.") {
        Some(rest) => Some(format!("pos_embed_input.{rest}")),
        None => ["controlnet_", "pos_embed_input."]
            .iter()
            .any(|beginning| name.starts_with(beginning))
            .then(|| name.to_owned()),
    })
}

/// How many of something there are, counted from 0 by their names' beginnings.
fn count(source: &WeightSource, prefix: &str) -> usize {
    let mut found = 0;
    while source.names().any(|name| name.starts_with(&format!("{prefix}{found}."))) {
        found += 1;
    }
    found
}

/// Collects tensors under new names.
struct Translation<'a> {
    from: &'a WeightSource,
    to: Vec<TensorView>,
}

impl<'a> Translation<'a> {
    fn new(from: &'a WeightSource) -> Self {
        Self { from, to: Vec::new() }
    }

    fn finish(self) -> WeightSource {
        WeightSource::of_tensors(self.from.label(), self.to)
    }

    /// A tensor, if it is there.
    fn tensor(&mut self, from: &str, to: &str) {
        self.to.extend(self.from.get(from).map(|view| view.clone().named(to)));
    }

    /// Weight and bias of a layer, if they are there.
    fn layer(&mut self, from: &str, to: &str) {
        for part in ["weight", "bias"] {
            self.tensor(&format!("{from}.{part}"), &format!("{to}.{part}"));
        }
    }

    /// Layers one after the other as one, if they are there.
    fn fused(&mut self, from: &[String], to: &str) -> Result<()> {
        for part in ["weight", "bias"] {
            let views: Option<Vec<TensorView>> =
                from.iter().map(|name| self.from.get(&format!("{name}.{part}")).cloned()).collect();
            let Some(views) = views else { continue };
            let name = format!("{to}.{part}");
            let whole = TensorView::concat(&name, &views)?.ok_or_else(|| self.unfit(&name))?;
            self.to.push(whole);
        }
        Ok(())
    }

    /// A layer whose rows' halves stand the other way round.
    fn turned(&mut self, from: &str, to: &str) -> Result<()> {
        for part in ["weight", "bias"] {
            let Some(view) = self.from.get(&format!("{from}.{part}")) else { continue };
            let rows = view.shape().first().copied().unwrap_or(0);
            let halves = [view.rows(rows / 2..rows)?, view.rows(0..rows / 2)?];
            let name = format!("{to}.{part}");
            let whole = TensorView::concat(&name, &halves)?.ok_or_else(|| self.unfit(&name))?;
            self.to.push(whole);
        }
        Ok(())
    }

    fn unfit(&self, name: &str) -> WeightError {
        WeightError::Incomplete {
            file: self.from.label().to_owned(),
            family: "a model in diffusers' layout".to_owned(),
            detail: format!("the tensors that make '{name}' are of different types"),
        }
    }
}

#[cfg(test)]
mod tests;

//! `TestLazyMixImages`: lazy inputs. `TestVariadicAverage`: undeclared ones.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_nodes::values::{Image, Mask};

use crate::picture;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(TestLazyMixImages)?;
    registry.add(TestVariadicAverage)
}

struct TestLazyMixImages;

/// Whether the first and the second image show anywhere.
fn shows(mask: &Mask) -> Result<(bool, bool), NodeError> {
    let values = mask.to_vec()?;
    Ok((values.iter().any(|v| *v != 1.0), values.iter().any(|v| *v != 0.0)))
}

impl Node for TestLazyMixImages {
    fn schema(&self) -> Schema {
        Schema::new("TestLazyMixImages")
            .category("Testing/Nodes")
            .input(Input::wire("image1", "IMAGE").lazy())
            .input(Input::wire("image2", "IMAGE").lazy())
            .input(Input::wire("mask", "MASK"))
            .output("IMAGE")
    }

    fn needs(&self, _: &Context, inputs: &Inputs) -> Result<Vec<String>, NodeError> {
        let (first, second) = shows(&*inputs.payload::<Mask>("mask")?)?;
        let wanted = [("image1", first), ("image2", second)].into_iter();
        Ok(wanted.filter(|(_, shows)| *shows).map(|(name, _)| name.to_owned()).collect())
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mask = inputs.payload::<Mask>("mask")?;
        match shows(&mask)? {
            (true, false) => return Ok(Outcome::value(inputs.value("image1")?.clone())),
            (false, true) => return Ok(Outcome::value(inputs.value("image2")?.clone())),
            _ => {}
        }
        let (first, second) = (inputs.payload::<Image>("image1")?, inputs.payload::<Image>("image2")?);
        picture::same_shape(&first, &second)?;
        let shape = first.shape();
        if (mask.shape().height, mask.shape().width) != (shape.height, shape.width) {
            return Err(NodeError::failed(format!("the mask is {:?}, the images {shape:?}", mask.shape())));
        }
        let (a, b, share) = (first.to_vec()?, second.to_vec()?, mask.to_vec()?);
        let mixed = a.iter().zip(&b).enumerate().map(|(i, (a, b))| {
            let share = share[(i / shape.channels) % share.len()];
            a * (1.0 - share) + b * share
        });
        Ok(Outcome::payload(Image::from_vec(mixed.collect(), shape)?))
    }
}

struct TestVariadicAverage;

impl Node for TestVariadicAverage {
    fn schema(&self) -> Schema {
        Schema::new("TestVariadicAverage")
            .category("Testing/Nodes")
            .input(Input::wire("input1", "IMAGE"))
            .accepts_undeclared()
            .output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let first = inputs.payload::<Image>("input1")?;
        let mut sum = first.to_vec()?;
        let mut count = 1.0;
        for number in 2.. {
            let name = format!("input{number}");
            if !inputs.has(&name) {
                break;
            }
            let next = inputs.payload::<Image>(&name)?;
            picture::same_shape(&first, &next)?;
            sum.iter_mut().zip(next.to_vec()?).for_each(|(sum, value)| *sum += value);
            count += 1.0;
        }
        sum.iter_mut().for_each(|sum| *sum /= count);
        Ok(Outcome::payload(Image::from_vec(sum, first.shape())?))
    }
}

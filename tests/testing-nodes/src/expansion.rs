//! `TestMixedExpansionReturns`, `TestDynamicDependencyCycle`, `TestParallelSleep`,
//! `TestDynamicAsyncGeneration`, `TestSamplingInExpansion`: nodes that return subgraphs.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_engine::workflow::{InputValue, Link, Workflow, WorkflowNode};

use crate::picture;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(TestMixedExpansionReturns)?;
    registry.add(TestDynamicDependencyCycle)?;
    registry.add(TestParallelSleep)?;
    registry.add(TestDynamicAsyncGeneration)?;
    registry.add(TestSamplingInExpansion)
}

/// A subgraph whose nodes are numbered from 1, as ComfyUI's graph builder does it.
#[derive(Default)]
pub(crate) struct Subgraph(Workflow);

impl Subgraph {
    pub(crate) fn add(&mut self, node: WorkflowNode) -> String {
        let id = (self.0.nodes.len() + 1).to_string();
        self.0.nodes.insert(id.as_str().into(), node);
        id
    }

    pub(crate) fn finish(self) -> Workflow {
        self.0
    }
}

fn output(id: &str, slot: usize) -> InputValue {
    InputValue::Link(Link::new(id, slot))
}

fn stub(class: &str, side: usize) -> WorkflowNode {
    WorkflowNode::new(class).literal("height", side).literal("width", side).literal("batch_size", 1)
}

struct TestMixedExpansionReturns;

impl Node for TestMixedExpansionReturns {
    fn schema(&self) -> Schema {
        Schema::new("TestMixedExpansionReturns")
            .category("Testing/Nodes")
            .input(Input::float("input1", 0.5))
            .output("IMAGE")
            .output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let input = inputs.float("input1")?;
        let white = Value::payload(picture::constant(1.0, 1, 512, 512)?);
        if input <= 0.2 {
            let value = if input <= 0.1 { 0.1 } else { 0.2 };
            let image = Value::payload(picture::constant(value, 1, 512, 512)?);
            return Ok(Outcome::values(vec![image, white]));
        }
        let mut graph = Subgraph::default();
        let mask = graph.add(stub("StubMask", 512).literal("value", 0.3));
        let black = graph.add(stub("StubImage", 512).literal("content", "BLACK"));
        let bright = graph.add(stub("StubImage", 512).literal("content", "WHITE"));
        let mix = WorkflowNode::new("TestLazyMixImages").link("image1", black, 0);
        let mix = graph.add(mix.link("image2", bright, 0).link("mask", mask, 0));
        Ok(Outcome::expand(graph.finish(), vec![output(&mix, 0), InputValue::Value(white)]))
    }
}

struct TestDynamicDependencyCycle;

impl Node for TestDynamicDependencyCycle {
    fn schema(&self) -> Schema {
        Schema::new("TestDynamicDependencyCycle")
            .category("Testing/Nodes")
            .input(Input::wire("input1", "IMAGE"))
            .input(Input::wire("input2", "IMAGE"))
            .output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut graph = Subgraph::default();
        let mask = graph.add(stub("StubMask", 512).literal("value", 0.5));
        // Each mix needs the other one.
        let mix = WorkflowNode::new("TestLazyMixImages").value("image1", inputs.value("input1")?.clone());
        graph.add(mix.link("image2", "3", 0).link("mask", &mask, 0));
        let mix = WorkflowNode::new("TestLazyMixImages").link("image1", "2", 0);
        let last = mix.value("image2", inputs.value("input2")?.clone()).link("mask", &mask, 0);
        let last = graph.add(last);
        Ok(Outcome::expand(graph.finish(), vec![output(&last, 0)]))
    }
}

fn sleep(value: Value, seconds: f64) -> WorkflowNode {
    WorkflowNode::new("TestSleep").value("value", value).literal("seconds", seconds)
}

/// The mean of what some nodes of the subgraph give.
fn average(graph: &mut Subgraph, of: &[String]) -> String {
    let inputs = of.iter().enumerate();
    let node = inputs.fold(WorkflowNode::new("TestVariadicAverage"), |node, (i, id)| {
        node.link(&format!("input{}", i + 1), id, 0)
    });
    graph.add(node)
}

struct TestParallelSleep;

impl Node for TestParallelSleep {
    fn schema(&self) -> Schema {
        let schema = Schema::new("TestParallelSleep").category("Testing/Nodes");
        let images = (1..=3).fold(schema, |s, i| s.input(Input::wire(&format!("image{i}"), "IMAGE")));
        (1..=3)
            .fold(images, |s, i| s.input(Input::float(&format!("sleep{i}"), 0.5).between(0.0, 9999.0)))
            .hidden("unique_id", ebb_engine::schema::Hidden::UniqueId)
            .output("IMAGE")
            .output_node()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut graph = Subgraph::default();
        let mut slept = Vec::new();
        for i in 1..=3 {
            let image = inputs.value(&format!("image{i}"))?.clone();
            slept.push(graph.add(sleep(image, inputs.float(&format!("sleep{i}"))?)));
        }
        let mean = average(&mut graph, &slept);
        Ok(Outcome::expand(graph.finish(), vec![output(&mean, 0)]))
    }
}

struct TestDynamicAsyncGeneration;

impl Node for TestDynamicAsyncGeneration {
    fn schema(&self) -> Schema {
        Schema::new("TestDynamicAsyncGeneration")
            .category("Testing/Async")
            .input(Input::wire("image1", "IMAGE"))
            .input(Input::wire("image2", "IMAGE"))
            .input(Input::int("num_async_nodes", 3).range(1, 10))
            .input(Input::float("sleep_duration", 0.2).between(0.1, 1.0))
            .hidden("unique_id", ebb_engine::schema::Hidden::UniqueId)
            .output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut graph = Subgraph::default();
        let mut slept = Vec::new();
        for i in 0..inputs.size("num_async_nodes")? {
            let image = inputs.value(if i % 2 == 0 { "image1" } else { "image2" })?.clone();
            slept.push(graph.add(sleep(image, inputs.float("sleep_duration")?)));
        }
        let mean = average(&mut graph, &slept);
        Ok(Outcome::expand(graph.finish(), vec![output(&mean, 0)]))
    }
}

/// Two prompts, an empty latent, a sampler and a decoder: heavy nodes inside of an expansion.
struct TestSamplingInExpansion;

impl Node for TestSamplingInExpansion {
    fn schema(&self) -> Schema {
        let handles = [("model", "MODEL"), ("clip", "CLIP"), ("vae", "VAE")];
        let schema = Schema::new("TestSamplingInExpansion").category("Testing/Nodes");
        handles
            .iter()
            .fold(schema, |schema, (name, kind)| schema.input(Input::wire(name, kind)))
            .input(Input::int("seed", 0).range(0, u64::MAX))
            .input(Input::int("steps", 20).range(1, 100))
            .input(Input::float("cfg", 7.0).between(0.0, 30.0))
            .input(Input::string("prompt", "a lake between mountains").option("multiline", true))
            .input(Input::string("negative_prompt", "blurry").option("multiline", true))
            .output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let given = |name: &str| inputs.value(name).cloned();
        let mut graph = Subgraph::default();
        let latent = WorkflowNode::new("EmptyLatentImage").literal("width", 512).literal("height", 512);
        let latent = graph.add(latent.literal("batch_size", 1));
        let mut sampler = WorkflowNode::new("KSampler")
            .value("model", given("model")?)
            .value("seed", given("seed")?)
            .value("steps", given("steps")?)
            .value("cfg", given("cfg")?)
            .literal("sampler_name", "euler")
            .literal("scheduler", "normal")
            .literal("denoise", 1.0)
            .link("latent_image", latent, 0);
        for (name, text) in [("positive", "prompt"), ("negative", "negative_prompt")] {
            let encoder = WorkflowNode::new("CLIPTextEncode").value("clip", given("clip")?);
            let encoder = graph.add(encoder.value("text", given(text)?));
            sampler = sampler.link(name, encoder, 0);
        }
        let sampler = graph.add(sampler);
        let decoder = WorkflowNode::new("VAEDecode").value("vae", given("vae")?).link("samples", sampler, 0);
        let decoder = graph.add(decoder);
        Ok(Outcome::expand(graph.finish(), vec![output(&decoder, 0)]))
    }
}

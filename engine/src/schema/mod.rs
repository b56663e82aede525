//! What a node declares about itself.
//!
//! One declaration serves four readers: validation (types, bounds, lists), the planner (output
//! node, how it works), the editor (`object_info`, see [`Schema::object_info`]) and the documentation.
//!
//! ```
//! use ebb_engine::schema::{Input, Schema};
//!
//! let schema = Schema::new("EmptyImage")
//!     .category("image")
//!     .input(Input::int("width", 512).range(1, 16384))
//!     .input(Input::int("height", 512).range(1, 16384))
//!     .output("IMAGE");
//! assert_eq!(schema.inputs.len(), 2);
//! ```

mod input;
mod object_info;

pub use input::{Choices, Input, InputType, Section};

/// How a node spends its time, so that the executor knows where to run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Work {
    /// Microseconds: runs in the executor's own loop.
    #[default]
    Light,
    /// Keeps the device busy: runs on the compute thread, one at a time a device.
    Compute,
    /// Waits (files, timers, services): runs beside others, never on the device.
    Async,
}

/// What the prompt hands to a node beside its inputs, by ComfyUI's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hidden {
    /// The node's own id. A node that asks for it is cached by its id too.
    UniqueId,
    /// The workflow in API format, as submitted.
    Prompt,
    /// The workflow with the nodes that expansions added.
    DynPrompt,
    /// What goes into a PNG's metadata beside the prompt.
    ExtraPngInfo,
}

impl Hidden {
    /// ComfyUI's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::UniqueId => "UNIQUE_ID",
            Self::Prompt => "PROMPT",
            Self::DynPrompt => "DYNPROMPT",
            Self::ExtraPngInfo => "EXTRA_PNGINFO",
        }
    }
}

/// A named, typed output.
#[derive(Clone, Debug)]
pub struct Output {
    /// The type, such as `LATENT`; `*` fits every input.
    pub kind: String,
    /// The name shown; the type where none is given.
    pub name: String,
    /// Whether the output is a list over which consumers run once per element.
    pub is_list: bool,
    /// A sentence for the editor.
    pub tooltip: Option<String>,
    /// For a combo output: its values, which `object_info` lists in place of the type.
    pub choices: Option<Choices>,
}

/// What a node declares. Build one with the methods; every field may be read.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// The class name that workflows use, such as `KSampler`.
    pub class: String,
    /// The name shown; the class where none is given.
    pub display_name: String,
    /// The menu it stands in, `/` between levels.
    pub category: String,
    /// A sentence or two.
    pub description: String,
    /// Where ComfyUI has it (`nodes`, `comfy_extras.nodes_mask` …): clients group by it.
    pub module: String,
    /// Inputs in order; the order is part of the interface (editors store values by position).
    pub inputs: Vec<Input>,
    /// Hidden inputs: name as ComfyUI's class declares it, and what it receives.
    pub hidden: Vec<(String, Hidden)>,
    /// Outputs in order.
    pub outputs: Vec<Output>,
    /// A node that is wanted for its effect (saving, showing): the roots of a plan.
    pub output_node: bool,
    /// The node takes its inputs as whole lists and runs once.
    pub input_is_list: bool,
    /// Inputs that are not declared reach the node as well.
    pub accepts_undeclared: bool,
    /// Where it runs.
    pub work: Work,
    /// Equal inputs do not mean equal outputs of two such nodes: each is cached by its own id.
    pub not_idempotent: bool,
    /// Marked so in the editor.
    pub deprecated: bool,
    /// Marked so in the editor.
    pub experimental: bool,
}

impl Schema {
    /// A schema of a class with no inputs or outputs yet.
    pub fn new(class: impl Into<String>) -> Self {
        let class = class.into();
        Self { display_name: class.clone(), class, module: "nodes".into(), ..Self::default() }
    }

    /// Sets the name shown.
    pub fn display(mut self, name: impl Into<String>) -> Self {
        self.display_name = name.into();
        self
    }

    /// Sets the menu it stands in.
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.category = category.into();
        self
    }

    /// Sets the description.
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Sets the module that ComfyUI has it in.
    pub fn module(mut self, module: impl Into<String>) -> Self {
        self.module = module.into();
        self
    }

    /// Adds an input.
    pub fn input(mut self, input: Input) -> Self {
        self.inputs.push(input);
        self
    }

    /// Adds a hidden input.
    pub fn hidden(mut self, name: impl Into<String>, what: Hidden) -> Self {
        self.hidden.push((name.into(), what));
        self
    }

    /// Adds an output named after its type.
    pub fn output(self, kind: &str) -> Self {
        self.named_output(kind, kind)
    }

    /// Adds an output with a name of its own.
    pub fn named_output(mut self, kind: &str, name: &str) -> Self {
        self.outputs.push(Output {
            kind: kind.into(),
            name: name.into(),
            is_list: false,
            tooltip: None,
            choices: None,
        });
        self
    }

    /// Adds a list output: consumers run once per element.
    pub fn list_output(mut self, kind: &str, name: &str) -> Self {
        self = self.named_output(kind, name);
        if let Some(last) = self.outputs.last_mut() {
            last.is_list = true;
        }
        self
    }

    /// Marks it as an output node.
    pub fn output_node(mut self) -> Self {
        self.output_node = true;
        self
    }

    /// Inputs arrive as whole lists.
    pub fn input_is_list(mut self) -> Self {
        self.input_is_list = true;
        self
    }

    /// Undeclared inputs reach the node.
    pub fn accepts_undeclared(mut self) -> Self {
        self.accepts_undeclared = true;
        self
    }

    /// Runs on the compute thread, alone on its device.
    pub fn compute(mut self) -> Self {
        self.work = Work::Compute;
        self
    }

    /// Runs beside others: `execute_async` is called.
    pub fn asynchronous(mut self) -> Self {
        self.work = Work::Async;
        self
    }

    /// Each node of this class is cached by its own id.
    pub fn not_idempotent(mut self) -> Self {
        self.not_idempotent = true;
        self
    }

    /// The declared input of a name.
    pub fn find(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }

    /// Whether its cache key holds its own id.
    pub fn keyed_by_id(&self) -> bool {
        self.not_idempotent || self.hidden.iter().any(|(_, h)| *h == Hidden::UniqueId)
    }
}

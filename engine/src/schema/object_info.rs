//! A schema as ComfyUI's `object_info` prints it.

use serde_json::{Map, Value as Json, json};

use super::{Input, InputType, Schema, Section};

impl Input {
    /// `[TYPE]` or `[TYPE, OPTIONS]`.
    pub fn spec(&self) -> Json {
        let (kind, options) = self.spec_parts();
        if options.is_empty() { json!([kind]) } else { json!([kind, options]) }
    }

    /// `[TYPE, OPTIONS]` with `{}` for no options: the `input_config` of validation errors.
    pub fn config(&self) -> Json {
        let (kind, options) = self.spec_parts();
        json!([kind, options])
    }

    fn spec_parts(&self) -> (Json, Map<String, Json>) {
        let mut options = Map::new();
        if let Some(default) = &self.default {
            options.insert("default".into(), default.clone());
        }
        if let Some(min) = &self.min {
            options.insert("min".into(), Json::Number(min.clone()));
        }
        if let Some(max) = &self.max {
            options.insert("max".into(), Json::Number(max.clone()));
        }
        if self.lazy {
            options.insert("lazy".into(), json!(true));
        }
        if self.raw_link {
            options.insert("rawLink".into(), json!(true));
        }
        options.extend(self.options.clone());
        let kind = match &self.kind {
            InputType::Combo { choices, named: false } => Json::Array(choices.values()),
            InputType::Combo { choices, named: true } => {
                // A client asks for a remote list itself.
                if !options.contains_key("remote") {
                    options.insert("options".into(), Json::Array(choices.values()));
                }
                json!("COMBO")
            }
            _ => json!(self.type_name()),
        };
        (kind, options)
    }
}

impl Schema {
    /// The description that `GET /object_info` gives for the class.
    pub fn object_info(&self) -> Json {
        let mut input = Map::new();
        let mut order = Map::new();
        for (section, name) in [(Section::Required, "required"), (Section::Optional, "optional")] {
            let inputs: Vec<&Input> = self.inputs.iter().filter(|i| i.section == section).collect();
            // Clients expect `required` to be there even when it is empty.
            if inputs.is_empty() && section == Section::Optional {
                continue;
            }
            order.insert(name.into(), inputs.iter().map(|i| json!(i.name)).collect());
            let specs: Map<_, _> = inputs.iter().map(|i| (i.name.clone(), i.spec())).collect();
            input.insert(name.into(), Json::Object(specs));
        }
        if !self.hidden.is_empty() {
            order.insert("hidden".into(), self.hidden.iter().map(|(name, _)| json!(name)).collect());
            let hidden: Map<_, _> =
                self.hidden.iter().map(|(name, h)| (name.clone(), json!(h.name()))).collect();
            input.insert("hidden".into(), Json::Object(hidden));
        }
        let mut info = Map::new();
        info.insert("input".into(), Json::Object(input));
        info.insert("input_order".into(), Json::Object(order));
        let kinds = self.outputs.iter().map(|o| match &o.choices {
            Some(choices) => Json::Array(choices.values()),
            None => json!(o.kind),
        });
        info.insert("output".into(), kinds.collect());
        info.insert("output_is_list".into(), self.outputs.iter().map(|o| json!(o.is_list)).collect());
        info.insert("output_name".into(), self.outputs.iter().map(|o| json!(o.name)).collect());
        info.insert("name".into(), json!(self.class));
        info.insert("display_name".into(), json!(self.display_name));
        info.insert("description".into(), json!(self.description));
        info.insert("python_module".into(), json!(self.module));
        info.insert("category".into(), json!(self.category));
        info.insert("output_node".into(), json!(self.output_node));
        if self.outputs.iter().any(|o| o.tooltip.is_some()) {
            info.insert(
                "output_tooltips".into(),
                self.outputs.iter().map(|o| json!(o.tooltip.as_deref().unwrap_or(""))).collect(),
            );
        }
        for (flag, name) in [(self.deprecated, "deprecated"), (self.experimental, "experimental")] {
            if flag {
                info.insert(name.into(), json!(true));
            }
        }
        Json::Object(info)
    }
}

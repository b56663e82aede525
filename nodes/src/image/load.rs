//! `LoadImage`, `LoadImageOutput`, `LoadImageMask`.

use std::io::BufReader;
use std::sync::Arc;

use ::image::ImageReader;
use ebb_engine::node::{
    Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches, ValidatorScope, Verdict,
};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;

use crate::folders::Folders;
use crate::pixels::load;
use crate::values::{ImageShape, Mask};

/// File endings that the input list offers.
const ENDINGS: [&str; 9] = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "jfif"];

/// A picture file's pixels, and what is transparent in it.
pub(super) struct LoadImage(pub(super) Arc<Folders>);

/// One channel of a picture file as a mask.
pub(super) struct LoadImageMask(pub(super) Arc<Folders>);

fn list_input(folders: &Arc<Folders>) -> Input {
    let folders = folders.clone();
    Input::listed("image", move || folders.input_files(&ENDINGS)).option("image_upload", true)
}

impl Node for LoadImage {
    fn schema(&self) -> Schema {
        Schema::new("LoadImage")
            .display("Load Image")
            .category("image")
            .input(list_input(&self.0))
            .output("IMAGE")
            .output("MASK")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let picture = load::read(inputs.str("image")?, self.0.open_input(inputs, "image")?)?;
        let (image, mask) = (picture.rgb()?, picture.transparency()?);
        Ok(Outcome::values(vec![Value::payload(image), Value::payload(mask)]))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        self.0.fingerprint(inputs, "image")
    }

    fn validator(&self) -> Option<ValidatorScope> {
        Some(ValidatorScope { inputs: vec!["image".into()], ..ValidatorScope::default() })
    }

    fn validate(&self, inputs: &Inputs, _: &[(String, String)]) -> Verdict {
        self.0.check_file(inputs, "image", "Invalid image file")
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let size = inputs.str("image").and_then(|name| self.0.open(name).ok()).and_then(|file| {
            ImageReader::new(BufReader::new(file)).with_guessed_format().ok()?.into_dimensions().ok()
        });
        let Some((width, height)) = size else { return Ok(Forecast::unknown()) };
        let shape = ImageShape { batch: 1, height: height as usize, width: width as usize, channels: 3 };
        Ok(Forecast::output(shape.sketch()?))
    }
}

/// As [`LoadImage`], of what was saved; a client asks for the list of those by itself.
pub(super) struct LoadImageOutput(pub(super) LoadImage);

impl Node for LoadImageOutput {
    fn schema(&self) -> Schema {
        let remote = serde_json::json!({"route": "/internal/files/output", "refresh_button": true,
            "control_after_refresh": "first"});
        let mut schema = Schema::new("LoadImageOutput")
            .display("Load Image (from Outputs)")
            .category("image")
            .input(
                Input::combo("image", [""; 0])
                    .named_combo()
                    .option("image_upload", true)
                    .option("image_folder", "output")
                    .option("remote", remote),
            )
            .output("IMAGE")
            .output("MASK")
            .compute();
        schema.experimental = true;
        schema
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        self.0.execute(context, inputs)
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        self.0.changed(inputs)
    }

    fn validator(&self) -> Option<ValidatorScope> {
        self.0.validator()
    }

    fn validate(&self, inputs: &Inputs, hidden: &[(String, String)]) -> Verdict {
        self.0.validate(inputs, hidden)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        self.0.forecast(inputs)
    }
}

impl Node for LoadImageMask {
    fn schema(&self) -> Schema {
        Schema::new("LoadImageMask")
            .display("Load Image (as Mask)")
            .category("mask")
            .input(list_input(&self.0))
            .input(Input::combo("channel", ["alpha", "red", "green", "blue"]))
            .output("MASK")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let picture = load::read(inputs.str("image")?, self.0.open_input(inputs, "image")?)?.first_frame();
        let mask: Mask = match inputs.str("channel")? {
            "red" => picture.channel(0)?,
            "green" => picture.channel(1)?,
            "blue" => picture.channel(2)?,
            _ => picture.see_through()?,
        };
        Ok(Outcome::payload(mask))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        self.0.fingerprint(inputs, "image")
    }

    fn validator(&self) -> Option<ValidatorScope> {
        Some(ValidatorScope { inputs: vec!["image".into()], ..ValidatorScope::default() })
    }

    fn validate(&self, inputs: &Inputs, _: &[(String, String)]) -> Verdict {
        self.0.check_file(inputs, "image", "Invalid image file")
    }
}

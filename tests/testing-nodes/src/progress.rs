//! `TestAsyncProgressUpdate`, `TestSyncProgressUpdate`, `TestAsyncBatchProcessing`, and
//! `KitPreview`, which shows pictures and a line of text.

use std::io::Cursor;
use std::time::Duration;

use ebb_engine::events::{Preview, PreviewFormat};
use ebb_engine::node::{BoxFuture, Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Hidden, Input, Schema};
use ebb_nodes::values::Image;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use crate::picture;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(TestAsyncProgressUpdate)?;
    registry.add(TestSyncProgressUpdate)?;
    registry.add(TestAsyncBatchProcessing)?;
    registry.add(KitPreview)
}

const STEPS: u32 = 10;

fn schema(class: &str) -> Schema {
    Schema::new(class)
        .category("Testing/Async")
        .input(Input::wire("value", "*"))
        .input(Input::float("sleep_seconds", 0.1).between(0.0, 10.0))
        .hidden("unique_id", Hidden::UniqueId)
        .named_output("*", "value")
}

fn step(inputs: &Inputs) -> Result<Duration, NodeError> {
    Ok(Duration::from_secs_f64(inputs.float("sleep_seconds")?.clamp(0.0, 10.0)) / STEPS)
}

struct TestAsyncProgressUpdate;

impl Node for TestAsyncProgressUpdate {
    fn schema(&self) -> Schema {
        schema("TestAsyncProgressUpdate").asynchronous()
    }

    fn execute_async<'a>(
        &'a self,
        context: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            for i in 0..STEPS {
                context.progress(f64::from(i) / f64::from(STEPS), 1.0)?;
                tokio::time::sleep(step(inputs)?).await;
            }
            context.progress(1.0, 1.0)?;
            Ok(Outcome::value(inputs.value("value")?.clone()))
        })
    }
}

struct TestSyncProgressUpdate;

impl Node for TestSyncProgressUpdate {
    fn schema(&self) -> Schema {
        schema("TestSyncProgressUpdate").compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        for i in 0..STEPS {
            context.progress(f64::from(i) / f64::from(STEPS), 1.0)?;
            std::thread::sleep(step(inputs)?);
        }
        context.progress(1.0, 1.0)?;
        Ok(Outcome::value(inputs.value("value")?.clone()))
    }
}

struct TestAsyncBatchProcessing;

impl Node for TestAsyncBatchProcessing {
    fn schema(&self) -> Schema {
        Schema::new("TestAsyncBatchProcessing")
            .category("Testing/Async")
            .input(Input::wire("images", "IMAGE"))
            .input(Input::float("process_time_per_item", 0.1).between(0.01, 5.0))
            .hidden("unique_id", Hidden::UniqueId)
            .output("IMAGE")
            .asynchronous()
    }

    fn execute_async<'a>(
        &'a self,
        context: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            let images = inputs.payload::<Image>("images")?;
            let pause = inputs.float("process_time_per_item")?.clamp(0.0, 5.0);
            let count = images.shape().batch;
            for i in 0..count {
                tokio::time::sleep(Duration::from_secs_f64(pause)).await;
                context.progress((i + 1) as f64, count as f64)?;
            }
            Ok(Outcome::payload(picture::map(&images, |pixel| 1.0 - pixel)?))
        })
    }
}

struct KitPreview;

impl Node for KitPreview {
    fn schema(&self) -> Schema {
        Schema::new("KitPreview")
            .category("kit")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::combo("fmt", ["JPEG", "PNG"]))
            .hidden("unique_id", Hidden::UniqueId)
            .output("IMAGE")
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (format, encoding) = match inputs.str("fmt")? {
            "JPEG" => (PreviewFormat::Jpeg, ImageFormat::Jpeg),
            _ => (PreviewFormat::Png, ImageFormat::Png),
        };
        // A red picture of 64 by 32, shrunk to fit 16 as the recorded node asks for it.
        let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(16, 8, Rgb([255, 0, 0])));
        for i in 1..=2 {
            let mut data = Cursor::new(Vec::new());
            picture.write_to(&mut data, encoding).map_err(|e| NodeError::failed(e.to_string()))?;
            context.progress_with_preview(f64::from(i), 2.0, Preview { format, data: data.into_inner() })?;
        }
        context.text("héllo");
        Ok(Outcome::value(inputs.value("image")?.clone()))
    }
}

//! Asynchronous nodes: sleeping, failing, timing out, sharing a resource, judging late.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ebb_engine::node::{BoxFuture, Context, Inputs, Node, NodeError, Outcome, ValidatorScope, Verdict};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Hidden, Input, Schema};
use ebb_engine::value::Value;
use tokio::sync::Semaphore;

use crate::picture;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(TestSleep)?;
    registry.add(TestAsyncError)?;
    registry.add(TestSyncError)?;
    registry.add(TestAsyncTimeout)?;
    registry.add(TestAsyncLazyCheck)?;
    registry.add(AsyncValidation("TestAsyncValidation", "threshold"))?;
    registry.add(AsyncValidation("TestAsyncValidationError", "max_value"))?;
    registry.add(TestAsyncResourceUser::default())?;
    registry.add(TestAsyncConcurrentLimit(Arc::new(Semaphore::new(2))))
}

fn seconds(name: &str, default: f64) -> Input {
    Input::float(name, default).between(0.0, 9999.0).option("step", 0.01)
}

fn duration(inputs: &Inputs, name: &str) -> Result<Duration, NodeError> {
    Duration::try_from_secs_f64(inputs.float(name)?)
        .map_err(|_| NodeError::input(name, "is not a time that can be waited"))
}

fn passing(class: &str) -> Schema {
    Schema::new(class).category("Testing/Async").input(Input::wire("value", "*"))
}

fn pass(inputs: &Inputs) -> Result<Outcome, NodeError> {
    Ok(Outcome::value(inputs.value("value")?.clone()))
}

struct TestSleep;

/// How often a sleeper says how far it is.
const TICK: Duration = Duration::from_millis(100);

impl Node for TestSleep {
    fn schema(&self) -> Schema {
        passing("TestSleep")
            .category("_for_testing")
            .input(seconds("seconds", 1.0))
            .hidden("unique_id", Hidden::UniqueId)
            .named_output("*", "value")
            .asynchronous()
    }

    fn execute_async<'a>(
        &'a self,
        context: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            let (begin, whole) = (Instant::now(), duration(inputs, "seconds")?);
            loop {
                let slept = begin.elapsed().min(whole);
                context.progress(slept.as_secs_f64(), whole.as_secs_f64())?;
                if slept == whole {
                    return pass(inputs);
                }
                tokio::time::sleep(TICK.min(whole - slept)).await;
            }
        })
    }
}

struct TestAsyncError;

impl Node for TestAsyncError {
    fn schema(&self) -> Schema {
        passing("TestAsyncError").input(seconds("error_after", 0.1)).named_output("*", "value").asynchronous()
    }

    fn execute_async<'a>(
        &'a self,
        _: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            tokio::time::sleep(duration(inputs, "error_after")?).await;
            Err(NodeError::failed("Intentional async execution error for testing"))
        })
    }
}

struct TestSyncError;

impl Node for TestSyncError {
    fn schema(&self) -> Schema {
        passing("TestSyncError").named_output("*", "value")
    }

    fn execute(&self, _: &Context, _: &Inputs) -> Result<Outcome, NodeError> {
        Err(NodeError::failed("Intentional sync execution error for testing"))
    }
}

struct TestAsyncTimeout;

impl Node for TestAsyncTimeout {
    fn schema(&self) -> Schema {
        passing("TestAsyncTimeout")
            .input(seconds("timeout", 1.0))
            .input(seconds("operation_time", 2.0))
            .named_output("*", "value")
            .asynchronous()
    }

    fn execute_async<'a>(
        &'a self,
        _: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            let limit = duration(inputs, "timeout")?;
            let operation = tokio::time::sleep(duration(inputs, "operation_time")?);
            match tokio::time::timeout(limit, operation).await {
                Ok(()) => pass(inputs),
                Err(_) => {
                    let message = format!("Operation timed out after {} seconds", limit.as_secs_f64());
                    Err(NodeError::failed(message).exception("TimeoutError"))
                }
            }
        })
    }
}

struct TestAsyncLazyCheck;

impl Node for TestAsyncLazyCheck {
    fn schema(&self) -> Schema {
        Schema::new("TestAsyncLazyCheck")
            .category("Testing/Async")
            .input(Input::wire("input1", "*").lazy())
            .input(Input::wire("input2", "*").lazy())
            .input(Input::boolean("condition", true))
            .output("IMAGE")
            .asynchronous()
    }

    fn needs_async<'a>(
        &'a self,
        _: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Vec<String>, NodeError>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let name = if inputs.bool("condition")? { "input1" } else { "input2" };
            Ok(if inputs.get(name).is_none() { vec![name.to_owned()] } else { Vec::new() })
        })
    }

    fn execute_async<'a>(
        &'a self,
        _: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            inputs.value(if inputs.bool("condition")? { "input1" } else { "input2" })?;
            Ok(Outcome::payload(picture::constant(1.0, 1, 512, 512)?))
        })
    }
}

/// A class whose validator takes its time, and the input that holds the limit.
struct AsyncValidation(&'static str, &'static str);

impl Node for AsyncValidation {
    fn schema(&self) -> Schema {
        Schema::new(self.0)
            .category("Testing/Async")
            .input(Input::float("value", 5.0))
            .input(Input::float(self.1, 10.0))
            .output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let share = inputs.float("value")? / inputs.float(self.1)?;
        Ok(Outcome::payload(picture::constant(share as f32, 1, 512, 512)?))
    }

    fn validator(&self) -> Option<ValidatorScope> {
        let inputs = vec!["value".to_owned(), self.1.to_owned()];
        Some(ValidatorScope { inputs, ..ValidatorScope::default() })
    }

    fn validate_async<'a>(&'a self, inputs: &'a Inputs, _: &'a [(String, String)]) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let (Ok(value), Ok(limit)) = (inputs.float("value"), inputs.float(self.1)) else {
                return Verdict::Accept;
            };
            if value <= limit {
                return Verdict::Accept;
            }
            Verdict::Refuse(Some(format!("Async validation failed: {value:?} > {limit:?}")))
        })
    }
}

#[derive(Default)]
struct TestAsyncResourceUser(Mutex<HashSet<String>>);

/// A resource in use; free again when dropped, however the user ends.
struct InUse<'a>(&'a Mutex<HashSet<String>>, String);

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Node for TestAsyncResourceUser {
    fn schema(&self) -> Schema {
        passing("TestAsyncResourceUser")
            .input(Input::string("resource_id", "resource_0"))
            .input(seconds("duration", 0.5))
            .named_output("*", "value")
            .asynchronous()
    }

    fn execute_async<'a>(
        &'a self,
        _: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            let id = inputs.str("resource_id")?.to_owned();
            if !self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone()) {
                return Err(NodeError::failed(format!("Resource {id} is already in use!")));
            }
            let _in_use = InUse(&self.0, id);
            tokio::time::sleep(duration(inputs, "duration")?).await;
            pass(inputs)
        })
    }
}

struct TestAsyncConcurrentLimit(Arc<Semaphore>);

impl Node for TestAsyncConcurrentLimit {
    fn schema(&self) -> Schema {
        passing("TestAsyncConcurrentLimit")
            .input(seconds("duration", 0.5))
            .input(Input::int("node_id", 0))
            .named_output("*", "value")
            .asynchronous()
    }

    fn execute_async<'a>(
        &'a self,
        _: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            let turn = self.0.acquire().await.map_err(|e| NodeError::failed(e.to_string()))?;
            tokio::time::sleep(duration(inputs, "duration")?).await;
            drop(turn);
            let value: Value = inputs.value("value")?.clone();
            Ok(Outcome::value(value))
        })
    }
}

//! What the picture of a cell says that it came from: the cell's own workflow, so that opening it
//! gives that cell and not the sweep.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{Drawing, Sweep};
use crate::node::{Origin, Origins};
use crate::workflow::NodeId;

/// The origins of a sweep's nodes.
#[derive(Debug)]
pub struct CellOrigins {
    sweep: Arc<Sweep>,
    drawing: Option<Drawing>,
    extra_pnginfo: Map<String, Json>,
}

impl CellOrigins {
    /// Cells of a sweep. `drawing` takes the place of `extra_pnginfo`'s `workflow`; without one,
    /// pictures carry no drawing.
    pub fn new(sweep: Arc<Sweep>, drawing: Option<Drawing>, mut extra_pnginfo: Map<String, Json>) -> Self {
        extra_pnginfo.shift_remove("workflow");
        Self { sweep, drawing, extra_pnginfo }
    }
}

impl Origins for CellOrigins {
    fn of(&self, node: &NodeId) -> Option<Origin> {
        let (cell, _) = Sweep::cell_of(node).filter(|(cell, _)| *cell < self.sweep.len())?;
        let mut extra = self.extra_pnginfo.clone();
        if let Some(drawing) = &self.drawing {
            extra.insert("workflow".into(), drawing.of(&self.sweep, cell));
        }
        Some(Origin {
            prompt: Arc::new(self.sweep.workflow(cell)),
            extra_pnginfo: Arc::new(Json::Object(extra)),
        })
    }
}

//! Linear layers.

use crate::error::{Result, at_least, unsupported};
use crate::gemm::{Epilogue, Finish, Product, Shape, compute_type, product, stage};
use crate::kernels::Kernels;
use crate::pack::PackedLinear;
use crate::view::{Layout, View, ViewMut};

/// `out[r] = epilogue(x[r] W^T + bias)` for each row.
#[derive(Debug)]
pub struct Linear<'a> {
    /// Rows of `in_features` values.
    pub x: View<'a>,
    /// Number of rows.
    pub rows: usize,
    /// Rows of one sample, for what an epilogue adds or multiplies by sample; 0 means that all rows are one sample.
    pub rows_per_sample: usize,
    /// The packed weight and bias.
    pub w: &'a PackedLinear,
    /// What happens to the result.
    pub epilogue: Epilogue<'a>,
    /// Where the rows of `x` lie; `None` when they are dense.
    pub x_layout: Option<Layout>,
    /// Rows of `out_features` values.
    pub out: ViewMut<'a>,
    /// Where the rows of `out` lie; `None` when they are dense.
    pub out_layout: Option<Layout>,
}

const OP: &str = "linear";

impl Kernels {
    /// Runs a linear layer. An input of the other type than the layer's precision multiplies is converted first.
    pub fn linear(&self, args: Linear<'_>) -> Result<()> {
        let Linear { x, rows, rows_per_sample, w, epilogue, x_layout, mut out, out_layout } = args;
        let (k, outputs) = (w.in_features(), w.out_features());
        let x_layout = x_layout.unwrap_or(Layout::dense(k));
        let out_layout = out_layout.unwrap_or(Layout::dense(outputs));
        at_least(OP, "input length", x_layout.extent(rows, k).unwrap_or(usize::MAX), x.len())?;
        if out_layout.row < outputs && rows > 1 && out_layout.rows_per_sample > 1 {
            return unsupported(OP, format!("output rows {} apart hold {outputs} columns", out_layout.row));
        }
        let rows_per_sample = if rows_per_sample == 0 { rows.max(1) } else { rows_per_sample };
        let shape = Shape {
            op: OP,
            rows,
            samples: rows.div_ceil(rows_per_sample),
            outputs,
            layout: out_layout,
            bias: w.packed.bias.as_deref(),
            glu: w.packed.glu,
        };
        let finish = Finish::new(&epilogue, &mut out, shape)?;
        let compute = compute_type(self.path(), w.packed.precision);
        let inputs = stage(self, compute, rows, &[(x, k, x_layout)])?;
        product(
            self,
            Product {
                w: &w.packed,
                rows,
                inputs: &inputs,
                compute,
                finish,
                out: out_layout,
                rows_per_sample,
                source: |m, _| Some(m),
            },
        )
    }
}

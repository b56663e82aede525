//! Building a model's prepared weights from a [`Source`], one tensor at a time.

use std::{cell::RefCell, collections::HashMap, ops::ControlFlow, rc::Rc, sync::Arc};

use crate::{
    Error, Result,
    ops::{Activation, Blocks, Conv, ConvData, Linear, LinearData, Norm, Ops, Parts, Table, TableValues},
    source::{Info, Source, Stored, Values, require},
};

/// A prepared weight, shared between a model and the patched views of it.
#[derive(Clone)]
enum Prepared {
    Linear(Arc<Linear>),
    Conv(Arc<Conv>),
    Norm(Arc<Norm>),
    Table(Arc<Table>),
}

impl Prepared {
    fn bytes(&self) -> usize {
        match self {
            Self::Linear(x) => x.bytes(),
            Self::Conv(x) => x.bytes(),
            Self::Norm(x) => x.bytes(),
            Self::Table(x) => x.bytes(),
        }
    }
}

/// Every prepared weight of a model by the name of its (first) tensor: what a patched view of it shares.
#[derive(Default)]
pub struct Params {
    by_name: HashMap<String, (u64, Prepared)>,
    own: usize,
    shared: usize,
}

impl Params {
    /// Bytes of the weights that this model brought into memory.
    pub fn own_bytes(&self) -> usize {
        self.own
    }

    /// Bytes of the weights that it shares with the model it was loaded over.
    pub fn shared_bytes(&self) -> usize {
        self.shared
    }

    /// Bytes of both.
    pub fn bytes(&self) -> usize {
        self.own + self.shared
    }
}

/// Told the bytes loaded so far before each weight; may stop the load.
pub type Progress<'a> = dyn FnMut(usize) -> ControlFlow<()> + 'a;

/// What a load may be given besides its source.
#[derive(Default)]
pub struct LoadOptions<'a> {
    /// The weights of the model that the source is a patched view of: those that the view leaves alone are shared.
    pub base: Option<&'a Params>,
    /// Told how far the load is.
    pub progress: Option<&'a mut Progress<'a>>,
    /// Matrices beyond what fits are not kept but read as they are used.
    pub stream: Option<Arc<crate::stream::Stream>>,
}

struct State<'a> {
    options: LoadOptions<'a>,
    params: Params,
}

/// Reads weights under a path of names. Cheap to nest: [`Loader::at`] goes one name deeper.
pub(crate) struct Loader<'a> {
    ops: &'a Ops,
    source: &'a dyn Source,
    what: &'static str,
    path: String,
    state: Rc<RefCell<State<'a>>>,
}

/// Runs `build` with a loader; returns what it built together with the weights it asked for.
pub(crate) fn load<'a, M>(
    ops: &'a Ops,
    source: &'a dyn Source,
    what: &'static str,
    options: LoadOptions<'a>,
    build: impl FnOnce(&Loader<'a>) -> Result<M>,
) -> Result<(M, Params)> {
    let state = Rc::new(RefCell::new(State { options, params: Params::default() }));
    let model = build(&Loader { ops, source, what, path: String::new(), state: state.clone() })?;
    let params = std::mem::take(&mut state.borrow_mut().params);
    Ok((model, params))
}

impl<'a> Loader<'a> {
    /// A loader for the names below `name`.
    pub(crate) fn at(&self, name: impl std::fmt::Display) -> Self {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Self { path, ops: self.ops, source: self.source, what: self.what, state: self.state.clone() }
    }

    /// Full name of a tensor.
    pub(crate) fn name(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whether there is such a tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.source.info(&self.name(name)).is_some()
    }

    /// Shape of a tensor that must be there.
    pub(crate) fn shape(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.info(&self.name(name))?.shape)
    }

    /// How many blocks there are: the first `n` for which `template` with `n` is not in the file.
    pub(crate) fn count(&self, template: impl Fn(usize) -> String) -> usize {
        (0..).take_while(|&i| self.has(&template(i))).count()
    }

    fn info(&self, full: &str) -> Result<Info> {
        require(self.source, self.what, full)
    }

    /// Tells how far the load is; an error where it is to stop.
    fn report(&self) -> Result<()> {
        let state = &mut *self.state.borrow_mut();
        let done = state.params.own;
        if let Some(progress) = state.options.progress.as_mut()
            && progress(done).is_break()
        {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    fn read(&self, full: &str) -> Result<Values> {
        self.report()?;
        self.source.read(full)
    }

    /// The weight registered under the name of its first tensor: shared with the base where the source leaves
    /// all of its tensors alone, else made now.
    fn prepared(&self, tensors: &[String], make: impl FnOnce() -> Result<Prepared>) -> Result<Prepared> {
        let revision = tensors.iter().fold(0, |r: u64, t| r.rotate_left(7) ^ self.source.revision(t));
        self.prepared_as(&tensors[0], revision, make)
    }

    fn prepared_as(
        &self,
        key: &str,
        revision: u64,
        make: impl FnOnce() -> Result<Prepared>,
    ) -> Result<Prepared> {
        let shared = {
            let state = self.state.borrow();
            let found = state.options.base.and_then(|b| b.by_name.get(key));
            found.filter(|(r, _)| *r == revision).map(|(_, p)| p.clone())
        };
        let is_shared = shared.is_some();
        let prepared = match shared {
            Some(prepared) => prepared,
            None => make()?,
        };
        let params = &mut self.state.borrow_mut().params;
        *(if is_shared { &mut params.shared } else { &mut params.own }) += prepared.bytes();
        params.by_name.insert(key.to_owned(), (revision, prepared.clone()));
        Ok(prepared)
    }

    /// Values of an f32 vector or small tensor, whatever its stored type.
    pub(crate) fn values(&self, name: &str) -> Result<Vec<f32>> {
        let full = self.name(name);
        let info = self.info(&full)?;
        if self.ops.wants_values() {
            Ok(self.read(&full)?.into_f32())
        } else {
            Ok(vec![0.0; info.shape.iter().product()])
        }
    }

    fn vector_of(&self, full: &str, len: usize) -> Result<Vec<f32>> {
        let info = self.info(full)?;
        if info.shape != [len] {
            return Err(Error::Shape {
                name: full.to_owned(),
                found: info.shape,
                expected: format!("[{len}]"),
            });
        }
        if self.ops.wants_values() { Ok(self.read(full)?.into_f32()) } else { Ok(vec![0.0; len]) }
    }

    fn parts(&self, tensors: &[String], stored: Stored) -> Result<Parts> {
        let mut values = Vec::new();
        if self.ops.wants_values() {
            for t in tensors {
                values.push(self.read(t)?);
            }
        }
        Ok(Parts { stored, values, blocks: None, files: Vec::new() })
    }

    /// The blocks that all of these matrices of `input` columns are stored in; none where one is not.
    fn blocks(&self, tensors: &[String], input: usize) -> Result<Option<Blocks>> {
        let kind = |t: &String| self.source.blocks(t).filter(|kind| input.is_multiple_of(kind.block_len()));
        let kinds: Option<Vec<_>> = tensors.iter().map(kind).collect();
        let Some(kinds) = kinds.filter(|_| self.ops.keeps_blocks()) else { return Ok(None) };
        let mut bytes = Vec::new();
        if self.ops.wants_values() {
            for t in tensors {
                self.report()?;
                bytes.push(self.source.read_blocks(t)?);
            }
        }
        Ok(Some(Blocks { kinds, bytes }))
    }

    /// As [`parts`](Self::parts), left in their files where the backend reads them as it packs them.
    fn parts_in_place(&self, tensors: &[String], stored: Stored) -> Result<Parts> {
        if self.ops.reads_in_place() {
            let files: Option<Vec<_>> = tensors.iter().map(|t| self.source.stored(t)).collect();
            if let Some(files) = files {
                self.report()?;
                return Ok(Parts { stored, values: Vec::new(), blocks: None, files });
            }
        }
        self.parts(tensors, stored)
    }

    /// A matrix `NAME.weight` with `NAME.bias` where there is one.
    pub(crate) fn linear(&self, name: &str) -> Result<Arc<Linear>> {
        self.linear_from(&[self.key(name, "weight")], &[self.key(name, "bias")], None)
    }

    /// As [`Loader::linear`], with rows in (value, gate) halves.
    pub(crate) fn geglu(&self, name: &str) -> Result<Arc<Linear>> {
        self.linear_from(&[self.key(name, "weight")], &[self.key(name, "bias")], Some(Activation::Gelu))
    }

    /// Several matrices of the same input as one product.
    pub(crate) fn fused(&self, names: &[&str]) -> Result<Arc<Linear>> {
        let weights: Vec<String> = names.iter().map(|n| self.key(n, "weight")).collect();
        let biases: Vec<String> = names.iter().map(|n| self.key(n, "bias")).collect();
        self.linear_from(&weights, &biases, None)
    }

    fn key(&self, name: &str, kind: &str) -> String {
        if name.is_empty() { self.name(kind) } else { self.name(&format!("{name}.{kind}")) }
    }

    /// A matrix from tensors by their full names.
    pub(crate) fn linear_from(
        &self,
        weights: &[String],
        biases: &[String],
        glu: Option<Activation>,
    ) -> Result<Arc<Linear>> {
        let first = self.info(&weights[0])?;
        let input: usize = first.shape.iter().skip(1).product();
        let mut rows = Vec::with_capacity(weights.len());
        for name in weights {
            let shape = self.info(name)?.shape;
            // A 1×1 convolution is a matrix product on every position.
            let fits = matches!(shape.as_slice(), [_, i] | [_, i, 1] | [_, i, 1, 1] if *i == input);
            if !fits || (glu.is_some() && shape[0] % 2 != 0) {
                return Err(Error::Shape {
                    name: name.clone(),
                    found: shape,
                    expected: format!("[out, {input}]"),
                });
            }
            rows.push(shape[0]);
        }
        let has_bias = biases.iter().any(|b| self.source.info(b).is_some());
        let mut tensors = weights.to_vec();
        if has_bias {
            tensors.extend(biases.iter().filter(|b| self.source.info(b).is_some()).cloned());
        }
        let make = || {
            let bias = if has_bias {
                let mut all = Vec::new();
                for (name, &rows) in biases.iter().zip(&rows) {
                    // Some fused projections have a bias on queries and values only.
                    match self.source.info(name) {
                        Some(_) => all.extend(self.vector_of(name, rows)?),
                        None => all.resize(all.len() + rows, 0.0),
                    }
                }
                Some(all)
            } else {
                None
            };
            let output = rows.iter().sum();
            let stream = self.state.borrow().options.stream.clone();
            if let Some(stream) = stream
                && let Some(streamed) = stream.take(weights, first.stored, output * input, bias.as_ref())
            {
                let bytes = streamed.bytes();
                let data = LinearData::Streamed(streamed);
                return Ok(Prepared::Linear(Arc::new(Linear { input, output, glu, bytes, data })));
            }
            let parts = match self.blocks(weights, input)? {
                Some(blocks) => Parts {
                    stored: first.stored,
                    values: Vec::new(),
                    blocks: Some(blocks),
                    files: Vec::new(),
                },
                None => self.parts_in_place(weights, first.stored)?,
            };
            let packed = self.ops.pack_linear(parts, bias, [output, input], glu)?;
            Ok(Prepared::Linear(Arc::new(packed)))
        };
        match self.prepared(&tensors, make)? {
            Prepared::Linear(x) => Ok(x),
            _ => Err(self.twice(&tensors[0])),
        }
    }

    /// A matrix's rows as several matrices: `rows` of them each.
    pub(crate) fn linear_rows(&self, name: &str, rows: &[usize]) -> Result<Vec<Arc<Linear>>> {
        let (weight, bias) = (self.key(name, "weight"), self.key(name, "bias"));
        let info = self.info(&weight)?;
        let input = match info.shape.as_slice() {
            [total, input] if *total == rows.iter().sum::<usize>() && *input > 0 => *input,
            _ => {
                let expected = format!("[{}, in]", rows.iter().sum::<usize>());
                return Err(Error::Shape { name: weight, found: info.shape, expected });
            }
        };
        let mut start = 0;
        let mut found = Vec::with_capacity(rows.len());
        for &count in rows {
            let range = start..start + count;
            let make = || {
                let mut parts = self.parts(std::slice::from_ref(&weight), info.stored)?;
                let elements = range.start * input..range.end * input;
                parts.values = parts.values.into_iter().map(|v| v.part(elements.clone())).collect();
                let bias = match self.source.info(&bias) {
                    Some(_) => Some(self.vector_of(&bias, info.shape[0])?[range.clone()].to_vec()),
                    None => None,
                };
                Ok(Prepared::Linear(Arc::new(self.ops.pack_linear(parts, bias, [count, input], None)?)))
            };
            let key = format!("{weight}[{start}..]");
            let revision = self.source.revision(&weight) ^ self.source.revision(&bias).rotate_left(7);
            match self.prepared_as(&key, revision, make)? {
                Prepared::Linear(x) => found.push(x),
                _ => return Err(self.twice(&weight)),
            }
            start += count;
        }
        Ok(found)
    }

    /// A matrix as a convolution over single positions, which can read two activations side by side.
    pub(crate) fn conv_1x1(&self, name: &str) -> Result<Arc<Conv>> {
        let (weight, bias) = (self.key(name, "weight"), self.key(name, "bias"));
        let info = self.info(&weight)?;
        let &[o, i] = info.shape.as_slice() else {
            return Err(Error::Shape { name: weight, found: info.shape, expected: "[out, in]".into() });
        };
        self.conv_from(weight, bias, info.stored, [o, i, 1, 1])
    }

    /// A matrix stored `[in, out]`, as `x · W` has it, without a bias.
    pub(crate) fn linear_transposed(&self, name: &str) -> Result<Arc<Linear>> {
        let full = self.name(name);
        let info = self.info(&full)?;
        let &[input, output] = info.shape.as_slice() else {
            return Err(Error::Shape { name: full, found: info.shape, expected: "[in, out]".into() });
        };
        let make = || {
            let mut parts = self.parts(std::slice::from_ref(&full), info.stored)?;
            parts.values = parts.values.into_iter().map(|v| v.transposed(input, output)).collect();
            Ok(Prepared::Linear(Arc::new(self.ops.pack_linear(parts, None, [output, input], None)?)))
        };
        match self.prepared(std::slice::from_ref(&full), make)? {
            Prepared::Linear(x) => Ok(x),
            _ => Err(self.twice(&full)),
        }
    }

    /// A convolution `NAME.weight` with `NAME.bias` where there is one.
    pub(crate) fn conv(&self, name: &str) -> Result<Arc<Conv>> {
        let (weight, bias) = (self.key(name, "weight"), self.key(name, "bias"));
        let info = self.info(&weight)?;
        let &[o, i, kh, kw] = info.shape.as_slice() else {
            return Err(Error::Shape {
                name: weight,
                found: info.shape,
                expected: "[out, in, height, width]".into(),
            });
        };
        self.conv_from(weight, bias, info.stored, [o, i, kh, kw])
    }

    fn conv_from(
        &self,
        weight: String,
        bias: String,
        stored: Stored,
        shape: [usize; 4],
    ) -> Result<Arc<Conv>> {
        let mut tensors = vec![weight];
        if self.source.info(&bias).is_some() {
            tensors.push(bias);
        }
        let make = || {
            let bias = tensors.get(1).map(|b| self.vector_of(b, shape[0])).transpose()?;
            let stream = self.state.borrow().options.stream.clone();
            if let Some(stream) = stream
                && let Some(streamed) =
                    stream.take(&tensors[..1], stored, shape.iter().product(), bias.as_ref())
            {
                let [output, input, height, width] = shape;
                let bytes = streamed.bytes();
                let data = ConvData::Streamed(streamed);
                let conv = Conv { input, output, kernel: [height, width], bytes, data };
                return Ok(Prepared::Conv(Arc::new(conv)));
            }
            let parts = self.parts_in_place(&tensors[..1], stored)?;
            Ok(Prepared::Conv(Arc::new(self.ops.pack_conv(parts, bias, shape)?)))
        };
        match self.prepared(&tensors, make)? {
            Prepared::Conv(x) => Ok(x),
            _ => Err(self.twice(&tensors[0])),
        }
    }

    /// A normalisation's `NAME.weight` and, where there is one, `NAME.bias`.
    pub(crate) fn norm(&self, name: &str) -> Result<Arc<Norm>> {
        self.norm_from(self.key(name, "weight"), Some(self.key(name, "bias")))
    }

    /// A normalisation's gain by its own name.
    pub(crate) fn gain(&self, name: &str) -> Result<Arc<Norm>> {
        self.norm_from(self.name(name), None)
    }

    fn norm_from(&self, weight: String, bias: Option<String>) -> Result<Arc<Norm>> {
        let mut tensors = vec![weight];
        tensors.extend(bias.filter(|b| self.source.info(b).is_some()));
        let len = self.info(&tensors[0])?.shape.iter().product();
        let make = || {
            let weight = self.vector_of(&tensors[0], len)?;
            let bias = tensors.get(1).map(|b| self.vector_of(b, len)).transpose()?;
            Ok(Prepared::Norm(Arc::new(Norm { weight, bias })))
        };
        match self.prepared(&tensors, make)? {
            Prepared::Norm(x) => Ok(x),
            _ => Err(self.twice(&tensors[0])),
        }
    }

    /// A table of rows to look up.
    pub(crate) fn table(&self, name: &str) -> Result<Arc<Table>> {
        let full = self.name(name);
        let info = self.info(&full)?;
        let &[rows, width] = info.shape.as_slice() else {
            return Err(Error::Shape { name: full, found: info.shape, expected: "[rows, width]".into() });
        };
        let make = || {
            let file = self.source.stored(&full).filter(|_| self.ops.reads_in_place());
            let values = match file {
                Some(file) => {
                    self.report()?;
                    TableValues::Packed(self.ops.pack_table(&*file)?)
                }
                None if self.ops.wants_values() => TableValues::Read(self.read(&full)?),
                None => TableValues::None,
            };
            let bytes = ebb_kernels::PackedTable::bytes_for(rows * width * info.stored.size());
            Ok(Prepared::Table(Arc::new(Table { rows, width, values, bytes })))
        };
        match self.prepared(std::slice::from_ref(&full), make)? {
            Prepared::Table(x) => Ok(x),
            _ => Err(self.twice(&full)),
        }
    }

    fn twice(&self, name: &str) -> Error {
        Error::Shape { name: name.to_owned(), found: Vec::new(), expected: "one use a tensor".into() }
    }
}

//! A pickle machine that can build numbers, texts, containers and descriptions of tensors.
//!
//! Instructions: <https://github.com/python/cpython/blob/main/Lib/pickletools.py>. Containers live
//! in one list and are named by their place in it, so that nothing is copied, nothing recurses and
//! a container that holds itself does no harm.

use std::rc::Rc;

use super::names::{Name, allowed};
use crate::DType;

/// A value on the machine's stack.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    Name(Name),
    /// Tuples and lists.
    Sequence(usize),
    Dictionary(usize),
    Storage(usize),
    Tensor(usize),
    Opaque,
}

/// A storage, as the pickle describes it.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    /// `None` for a storage of bytes.
    pub(super) dtype: Option<DType>,
    pub(super) key: Rc<str>,
    pub(super) len: u64,
}

/// A tensor, as the pickle describes it; offset and strides count values.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) storage: usize,
    pub(super) dtype: DType,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// Why a pickle is not read.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// It asks for more than building tensors.
    Unsafe(String),
    /// It is no pickle, or a damaged one.
    Broken(String),
}

type Step<T = ()> = Result<T, Refusal>;

/// What a pickle has built.
#[derive(Default)]
pub(super) struct Machine {
    pub(super) sequences: Vec<Vec<Value>>,
    pub(super) dictionaries: Vec<Vec<(Value, Value)>>,
    pub(super) storages: Vec<Storage>,
    pub(super) tensors: Vec<Tensor>,
}

/// One run over one pickle.
struct Run<'a> {
    machine: &'a mut Machine,
    code: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Option<Value>>,
}

impl Machine {
    /// Reads the pickle at the start of `code`. Gives its value and the bytes that it took.
    pub(super) fn run(&mut self, code: &[u8]) -> Step<(Value, usize)> {
        let mut run =
            Run { machine: self, code, at: 0, stack: Vec::new(), marks: Vec::new(), memo: Vec::new() };
        while run.step()? {}
        let value = run.pop()?;
        Ok((value, run.at))
    }

    fn sequence(&mut self, items: Vec<Value>) -> Value {
        self.sequences.push(items);
        Value::Sequence(self.sequences.len() - 1)
    }

    fn dictionary(&mut self, items: Vec<(Value, Value)>) -> Value {
        self.dictionaries.push(items);
        Value::Dictionary(self.dictionaries.len() - 1)
    }

    /// The items of a tuple or list.
    pub(super) fn items(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::Sequence(at) => self.sequences.get(*at).map(Vec::as_slice),
            _ => None,
        }
    }
}

impl Run<'_> {
    fn broken(&self, what: &str) -> Refusal {
        Refusal::Broken(format!("{what} at byte {} of the pickle", self.at))
    }

    /// Carries out one instruction. `false` at the end.
    fn step(&mut self) -> Step<bool> {
        let [instruction] = self.take()?;
        match instruction {
            b'.' => return Ok(false),
            0x80 => drop(self.take::<1>()?),
            0x95 => drop(self.take::<8>()?),
            // The stack.
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?.clone();
                self.stack.push(top);
            }
            // Plain values.
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'J' => self.int::<4>(true)?,
            b'K' => self.int::<1>(false)?,
            b'M' => self.int::<2>(false)?,
            b'I' => self.line_int()?,
            b'L' => self.line_int()?,
            0x8a => {
                let [length] = self.take()?;
                self.long(usize::from(length))?;
            }
            0x8b => {
                let length = u32::from_le_bytes(self.take()?);
                self.long(length as usize)?;
            }
            b'F' => {
                let number = self.line()?.parse().map_err(|_| self.broken("no number"))?;
                self.stack.push(Value::Float(number));
            }
            b'G' => {
                let number = f64::from_be_bytes(self.take()?);
                self.stack.push(Value::Float(number));
            }
            b'X' | b'T' | b'B' => {
                let length = u32::from_le_bytes(self.take()?).into();
                self.text(length)?;
            }
            0x8c | b'U' | b'C' => {
                let [length] = self.take()?;
                self.text(length.into())?;
            }
            0x8d | 0x8e | 0x96 => {
                let length = u64::from_le_bytes(self.take()?);
                self.text(length)?;
            }
            b'V' | b'S' => {
                let text = self.line()?.trim_matches(['\'', '"']).into();
                self.stack.push(Value::Text(text));
            }
            // Containers.
            b')' | b']' => self.push_sequence(Vec::new()),
            b't' | b'l' => {
                let items = self.pop_to_mark()?;
                self.push_sequence(items);
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(instruction - 0x84))?;
                self.push_sequence(items);
            }
            b'}' => self.push_dictionary(Vec::new()),
            b'd' => {
                let items = pairs(self.pop_to_mark()?).ok_or_else(|| self.broken("a key without a value"))?;
                self.push_dictionary(items);
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(items)?;
            }
            // Sets are of no use here.
            0x8f => self.stack.push(Value::Opaque),
            0x90 => drop(self.pop_to_mark()?),
            0x91 => {
                self.pop_to_mark()?;
                self.stack.push(Value::Opaque);
            }
            // The memo.
            b'q' => {
                let [at] = self.take()?;
                self.put(at.into())?;
            }
            b'r' => {
                let at = u32::from_le_bytes(self.take()?);
                self.put(at as usize)?;
            }
            0x94 => self.put(self.memo.len())?,
            b'p' => {
                let at = self.line_index()?;
                self.put(at)?;
            }
            b'h' => {
                let [at] = self.take()?;
                self.get(at.into())?;
            }
            b'j' => {
                let at = u32::from_le_bytes(self.take()?);
                self.get(at as usize)?;
            }
            b'g' => {
                let at = self.line_index()?;
                self.get(at)?;
            }
            // Names and what is made with them.
            b'c' => {
                let (module, name) = (self.line()?.to_owned(), self.line()?.to_owned());
                self.name(&module, &name)?;
            }
            0x93 => {
                let names = self.pop_many(2)?;
                let [Value::Text(module), Value::Text(name)] = &names[..] else {
                    return Err(self.broken("a name that is no text"));
                };
                self.name(module, name)?;
            }
            b'R' => {
                let parts = self.pop_many(2)?;
                let made = self.make(&parts[0], &parts[1])?;
                self.stack.push(made);
            }
            0x81 => {
                let parts = self.pop_many(2)?;
                let made = self.make_new(&parts[0])?;
                self.stack.push(made);
            }
            0x92 => {
                let parts = self.pop_many(3)?;
                let made = self.make_new(&parts[0])?;
                self.stack.push(made);
            }
            // The state of an object: of an ordered dictionary's or a tensor's own fields, no use.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(&id)?;
                self.stack.push(storage);
            }
            b'i' | b'o' | b'P' | 0x82..=0x84 | 0x97 | 0x98 => {
                let said = format!("the instruction {instruction:#04x} at byte {}", self.at - 1);
                return Err(Refusal::Unsafe(said));
            }
            _ => return Err(self.broken("an unknown instruction")),
        }
        Ok(true)
    }

    fn slice(&mut self, length: u64) -> Step<&[u8]> {
        let left = self.code.len() - self.at;
        let length = usize::try_from(length).ok().filter(|n| *n <= left);
        let length = length.ok_or_else(|| self.broken("the pickle is cut short"))?;
        self.at += length;
        Ok(&self.code[self.at - length..self.at])
    }

    fn take<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.slice(N as u64)?);
        Ok(out)
    }

    /// A line without its end.
    fn line(&mut self) -> Step<&str> {
        let length = self.code[self.at..].iter().position(|b| *b == b'\n');
        let length = length.ok_or_else(|| self.broken("a line without an end"))?;
        let start = self.at;
        self.at += length + 1;
        std::str::from_utf8(&self.code[start..start + length]).map_err(|_| self.broken("broken UTF-8"))
    }

    fn line_index(&mut self) -> Step<usize> {
        self.line()?.parse().map_err(|_| self.broken("no number"))
    }

    fn line_int(&mut self) -> Step {
        let value = match self.line()?.trim_end_matches('L') {
            "00" => Value::Bool(false),
            "01" => Value::Bool(true),
            text => text.parse().map_or(Value::Opaque, Value::Int),
        };
        self.stack.push(value);
        Ok(())
    }

    fn int<const N: usize>(&mut self, signed: bool) -> Step {
        let bytes: [u8; N] = self.take()?;
        let mut wide = [if signed && bytes[N - 1] & 0x80 != 0 { 0xff } else { 0 }; 8];
        wide[..N].copy_from_slice(&bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    /// A number of any length; those beyond 64 bits are of no use here.
    fn long(&mut self, length: usize) -> Step {
        let bytes = self.slice(length as u64)?;
        let value = if length > 8 {
            Value::Opaque
        } else {
            let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
            let mut wide = [if negative { 0xff } else { 0 }; 8];
            wide[..length].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        };
        self.stack.push(value);
        Ok(())
    }

    fn text(&mut self, length: u64) -> Step {
        let text = String::from_utf8_lossy(self.slice(length)?).into();
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn top(&self) -> Step<&Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(top) if self.stack.len() > floor => Ok(top),
            _ => Err(self.broken("an empty stack")),
        }
    }

    fn pop(&mut self) -> Step<Value> {
        self.top()?;
        self.stack.pop().ok_or_else(|| self.broken("an empty stack"))
    }

    fn pop_many(&mut self, n: usize) -> Step<Vec<Value>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() < floor + n {
            return Err(self.broken("an empty stack"));
        }
        Ok(self.stack.split_off(self.stack.len() - n))
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Value>> {
        let mark = self.marks.pop().ok_or_else(|| self.broken("no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn push_sequence(&mut self, items: Vec<Value>) {
        let value = self.machine.sequence(items);
        self.stack.push(value);
    }

    fn push_dictionary(&mut self, items: Vec<(Value, Value)>) {
        let value = self.machine.dictionary(items);
        self.stack.push(value);
    }

    fn append(&mut self, items: Vec<Value>) -> Step {
        match self.top()?.clone() {
            Value::Sequence(at) => self.machine.sequences[at].extend(items),
            Value::Opaque => {}
            _ => return Err(self.broken("items for what is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value>) -> Step {
        let items = pairs(items).ok_or_else(|| self.broken("a key without a value"))?;
        match self.top()?.clone() {
            Value::Dictionary(at) => self.machine.dictionaries[at].extend(items),
            Value::Opaque => {}
            _ => return Err(self.broken("items for what is no dictionary")),
        }
        Ok(())
    }

    fn put(&mut self, at: usize) -> Step {
        // Honest pickles number their memo without gaps, so it is never longer than the code.
        if at > self.code.len() {
            return Err(self.broken("a memo entry beyond all others"));
        }
        let top = self.top()?.clone();
        if self.memo.len() <= at {
            self.memo.resize(at + 1, None);
        }
        self.memo[at] = Some(top);
        Ok(())
    }

    fn get(&mut self, at: usize) -> Step {
        let value = self.memo.get(at).cloned().flatten().ok_or_else(|| self.broken("an empty memo entry"))?;
        self.stack.push(value);
        Ok(())
    }

    fn name(&mut self, module: &str, name: &str) -> Step {
        let known = allowed(module, name).ok_or_else(|| {
            Refusal::Unsafe(format!(
                "its pickle names {module}.{name}, which is not needed to build tensors and could run any code"
            ))
        })?;
        self.stack.push(Value::Name(known));
        Ok(())
    }

    fn make(&mut self, callable: &Value, arguments: &Value) -> Step<Value> {
        let Value::Name(name) = callable else {
            return match callable {
                Value::Opaque => Ok(Value::Opaque),
                _ => Err(self.broken("a call of what is no function")),
            };
        };
        let given =
            self.machine.items(arguments).ok_or_else(|| self.broken("a call without arguments"))?.to_vec();
        match name {
            // A dictionary's arguments may be its pairs.
            Name::Dictionary => {
                let listed = given.first().and_then(|v| self.machine.items(v)).unwrap_or(&[]).to_vec();
                let pair = |v: &Value| match self.machine.items(v) {
                    Some([key, value]) => Some((key.clone(), value.clone())),
                    _ => None,
                };
                let items = listed.iter().filter_map(pair).collect();
                Ok(self.machine.dictionary(items))
            }
            Name::Tensor => self.tensor(&given, None),
            Name::TypedTensor => match given.get(6) {
                Some(Value::Name(Name::Type(dtype))) => self.tensor(&given, Some(*dtype)),
                _ => Err(self.broken("a tensor of an unknown type")),
            },
            Name::Parameter => given.into_iter().next().ok_or_else(|| self.broken("a parameter of nothing")),
            Name::FromType => match &given[..] {
                // Only the rebuilding of tensors may be called in this way, or it could go on forever.
                [rebuild @ Value::Name(Name::Tensor | Name::TypedTensor), _, arguments, ..] => {
                    self.make(rebuild, arguments)
                }
                _ => Err(self.broken("a tensor of an unknown class")),
            },
            Name::Storage(_) | Name::Bytes | Name::Type(_) | Name::Opaque => Ok(Value::Opaque),
        }
    }

    fn make_new(&mut self, class: &Value) -> Step<Value> {
        match class {
            Value::Name(Name::Dictionary) => Ok(self.machine.dictionary(Vec::new())),
            Value::Name(_) | Value::Opaque => Ok(Value::Opaque),
            _ => Err(self.broken("an object of what is no class")),
        }
    }

    /// `("storage", type, key, device, length)`.
    fn storage(&mut self, id: &Value) -> Step<Value> {
        let fail = self.broken("a storage that is not described as PyTorch does it");
        let Some([Value::Text(tag), Value::Name(kind), Value::Text(key), _, Value::Int(len), ..]) =
            self.machine.items(id)
        else {
            return Err(fail);
        };
        let dtype = match kind {
            Name::Storage(dtype) => Some(*dtype),
            Name::Bytes => None,
            _ => return Err(fail),
        };
        let (true, Ok(len)) = (&**tag == "storage", u64::try_from(*len)) else { return Err(fail) };
        let storage = Storage { dtype, key: key.clone(), len };
        self.machine.storages.push(storage);
        Ok(Value::Storage(self.machine.storages.len() - 1))
    }

    fn tensor(&mut self, given: &[Value], dtype: Option<DType>) -> Step<Value> {
        let fail =
            || Refusal::Broken(format!("a tensor with wrong arguments at byte {} of the pickle", self.at));
        let [Value::Storage(storage), Value::Int(offset), shape, strides, ..] = given else {
            return Err(fail());
        };
        let numbers = |value: &Value| -> Option<Vec<u64>> {
            let one = |v: &Value| if let Value::Int(n) = v { u64::try_from(*n).ok() } else { None };
            self.machine.items(value)?.iter().map(one).collect()
        };
        let dtype = dtype.or(self.machine.storages[*storage].dtype).ok_or_else(fail)?;
        let tensor = Tensor {
            storage: *storage,
            dtype,
            offset: u64::try_from(*offset).map_err(|_| fail())?,
            shape: numbers(shape).ok_or_else(fail)?,
            strides: numbers(strides).ok_or_else(fail)?,
        };
        self.machine.tensors.push(tensor);
        Ok(Value::Tensor(self.machine.tensors.len() - 1))
    }
}

fn pairs(items: Vec<Value>) -> Option<Vec<(Value, Value)>> {
    if items.len() % 2 == 1 {
        return None;
    }
    let mut items = items.into_iter();
    let mut out = Vec::new();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        out.push((key, value));
    }
    Some(out)
}

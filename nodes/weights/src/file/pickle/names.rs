//! What a pickle may name.

use crate::DType;

/// A name that a pickle may use, by what it means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `collections.OrderedDict` and `dict`: an empty dictionary.
    Dictionary,
    /// A tensor from storage, offset, shape and strides.
    Tensor,
    /// As `Tensor`, with the type of its values apart from the storage.
    TypedTensor,
    /// A tensor that was trained: its first argument.
    Parameter,
    /// A tensor of a class of its own: its first argument called with its third.
    FromType,
    /// A storage of values of a type.
    Storage(DType),
    /// A storage of bytes.
    Bytes,
    /// A type of values.
    Type(DType),
    /// Something of no use here that may be made and is never looked into: a number of numpy's,
    /// the state of a training program.
    Opaque,
}

/// What a name means; `None` for all that is refused.
pub(super) fn allowed(module: &str, name: &str) -> Option<Name> {
    Some(match (module, name) {
        ("collections", "OrderedDict" | "defaultdict") | ("__builtin__" | "builtins", "dict") => {
            Name::Dictionary
        }
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Name::Tensor,
        ("torch._utils", "_rebuild_tensor_v3") => Name::TypedTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Name::Parameter,
        ("torch._tensor", "_rebuild_from_type_v2") => Name::FromType,
        ("torch.storage", "UntypedStorage" | "_UntypedStorage") | ("torch", "UntypedStorage") => Name::Bytes,
        ("torch" | "torch.cuda", storage) if storage.ends_with("Storage") => Name::Storage(match storage {
            "DoubleStorage" => DType::F64,
            "FloatStorage" => DType::F32,
            "HalfStorage" => DType::F16,
            "BFloat16Storage" => DType::BF16,
            "LongStorage" => DType::I64,
            "IntStorage" => DType::I32,
            "ShortStorage" => DType::I16,
            "CharStorage" => DType::I8,
            "ByteStorage" => DType::U8,
            "BoolStorage" => DType::Bool,
            _ => return None,
        }),
        ("torch", dtype) if value_type(dtype).is_some() => Name::Type(value_type(dtype)?),
        ("torch", "Size" | "device")
        | ("torch.nn.parameter", "Parameter")
        | (
            "__builtin__" | "builtins",
            "set" | "frozenset" | "list" | "tuple" | "int" | "float" | "bool" | "str",
        )
        | ("_codecs", "encode")
        | ("typing", "Any")
        | ("argparse", "Namespace")
        | ("numpy", "dtype" | "ndarray")
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct")
        | ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
        | ("pytorch_lightning.callbacks.early_stopping", "EarlyStopping")
        | ("pytorch_lightning.utilities.types" | "pytorch_lightning.utilities.parsing", "AttributeDict")
        | ("omegaconf.dictconfig", "DictConfig")
        | ("omegaconf.listconfig", "ListConfig")
        | ("omegaconf.base", "ContainerMetadata" | "Metadata")
        | ("omegaconf.nodes", "AnyNode" | "StringNode" | "IntegerNode" | "FloatNode" | "BooleanNode") => {
            Name::Opaque
        }
        ("numpy.dtypes", name) if name.ends_with("DType") => Name::Opaque,
        _ => return None,
    })
}

fn value_type(name: &str) -> Option<DType> {
    Some(match name {
        "float64" => DType::F64,
        "float32" => DType::F32,
        "float16" => DType::F16,
        "bfloat16" => DType::BF16,
        "float8_e4m3fn" => DType::F8E4M3,
        "float8_e5m2" => DType::F8E5M2,
        "int64" => DType::I64,
        "int32" => DType::I32,
        "int16" => DType::I16,
        "int8" => DType::I8,
        "uint8" => DType::U8,
        "bool" => DType::Bool,
        _ => return None,
    })
}

//! `COALESCE` that computes its first argument once.
//!
//! DataFusion rewrites it to `CASE WHEN x IS NOT NULL THEN x ELSE y END` and then has to keep
//! `x` in a projection of its own. Where the alternatives are columns or constants, nothing is
//! lost by having them at hand; where they compute something, which may fail, it stays a CASE.

use std::hash::Hash;

use arrow::array::Array;
use arrow::compute::is_not_null;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::functions::core::coalesce::CoalesceFunc;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// The function.
pub(super) fn coalesce() -> ScalarUDF {
    ScalarUDF::from(Coalesce {
        inner: CoalesceFunc::new(),
    })
}

/// Everything but the evaluation is DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Coalesce {
    inner: CoalesceFunc,
}

/// Whether a value is at hand, so that it does no harm to look at it in vain.
fn at_hand(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Cast(cast) => matches!(*cast.expr, Expr::Literal(..)),
        _ => false,
    }
}

impl ScalarUDFImpl for Coalesce {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match args.as_slice() {
            [_, others @ ..] if !others.is_empty() && others.iter().all(at_hand) => {
                Ok(ExprSimplifyResult::Original(args))
            }
            _ => self.inner.simplify(args, info),
        }
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut values = args.args.into_iter();
        let Some(first) = values.next() else {
            return plan_err!("coalesce needs an argument");
        };
        values.try_fold(first, or_else)
    }
}

/// `value`, or `other` where it is NULL.
fn or_else(value: ColumnarValue, other: ColumnarValue) -> Result<ColumnarValue> {
    let array = match value {
        ColumnarValue::Scalar(scalar) if scalar.is_null() => return Ok(other),
        ColumnarValue::Array(array) if array.logical_null_count() > 0 => array,
        whole => return Ok(whole),
    };
    let mask = is_not_null(&array)?;
    let either = match other {
        ColumnarValue::Array(other) => zip(&mask, &array, &other)?,
        ColumnarValue::Scalar(other) => zip(&mask, &array, &other.to_scalar()?)?,
    };
    Ok(ColumnarValue::Array(either))
}

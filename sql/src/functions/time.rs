//! `now()`, `current_timestamp` and `PROCTIME()`: on a stream, the row's arrival time.
//!
//! Declared volatile so that no rule folds it into the time of planning; the compiler puts the
//! system column in its place.

use std::hash::Hash;

use arrow::datatypes::DataType;
use datafusion::common::{Result, not_impl_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Name of the function that stands for the arrival time.
pub(crate) const NOW: &str = "now";

/// The function.
pub(crate) fn now() -> ScalarUDF {
    let aliases = ["current_timestamp", "proctime"]
        .map(str::to_owned)
        .to_vec();
    ScalarUDF::from(Now {
        signature: Signature::nullary(Volatility::Volatile),
        aliases,
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    signature: Signature,
    aliases: Vec<String>,
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        NOW
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(engine::time::TIMESTAMP)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        not_impl_err!("the arrival time is known on a stream only")
    }
}

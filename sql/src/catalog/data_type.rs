//! SQL types as Arrow types.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::ExactNumberInfo;
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::time::TIMESTAMP;

use crate::error::Error;

/// The Arrow type of a column's declared type; an error where there is none.
pub(super) fn arrow(declared: &ast::DataType, span: Span) -> Result<DataType, Error> {
    use ast::DataType as Sql;
    let found = match declared {
        Sql::String(_)
        | Sql::Varchar(_)
        | Sql::Nvarchar(_)
        | Sql::Text
        | Sql::Char(_)
        | Sql::Character(_)
        | Sql::CharVarying(_)
        | Sql::CharacterVarying(_) => DataType::Utf8,
        Sql::Bool | Sql::Boolean => DataType::Boolean,
        Sql::TinyInt(_) => DataType::Int8,
        Sql::SmallInt(_) | Sql::Int2(_) | Sql::Int16 => DataType::Int16,
        Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) | Sql::Int32 => DataType::Int32,
        Sql::BigInt(_) | Sql::Int8(_) | Sql::Int64 => DataType::Int64,
        Sql::Float(ExactNumberInfo::Precision(bits)) => float(*bits),
        Sql::Real | Sql::Float(_) | Sql::Float4 | Sql::Float32 => DataType::Float32,
        Sql::Double(_) | Sql::DoublePrecision | Sql::Float8 | Sql::Float64 => DataType::Float64,
        Sql::Decimal(size) | Sql::Numeric(size) | Sql::Dec(size) => return decimal(*size, span),
        Sql::Date | Sql::Date32 => DataType::Date32,
        Sql::Timestamp(digits, _) | Sql::TimestampNtz(digits) | Sql::Datetime(digits) => {
            return timestamp(*digits, span);
        }
        Sql::Bytes(_) | Sql::Binary(_) | Sql::Varbinary(_) | Sql::Bytea => DataType::Binary,
        Sql::Custom(name, sizes) => return custom(&name.to_string(), sizes, span),
        other => return Err(refused(other, span)),
    };
    Ok(found)
}

/// Standard SQL: the precision is in bits.
fn float(bits: u64) -> DataType {
    if bits > 24 {
        DataType::Float64
    } else {
        DataType::Float32
    }
}

fn decimal(size: ExactNumberInfo, span: Span) -> Result<DataType, Error> {
    let (precision, scale) = match size {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s @ 0..)) if s.unsigned_abs() <= p => Ok(DataType::Decimal128(p, s)),
        _ => {
            let message = format!("there is no DECIMAL({precision}, {scale})");
            let hint = "the precision is 1 to 38, the scale 0 to the precision";
            Err(Error::invalid(message, span).hint(hint))
        }
    }
}

fn timestamp(digits: Option<u64>, span: Span) -> Result<DataType, Error> {
    if digits.is_some_and(|digits| digits > 9) {
        let error = Error::invalid("a TIMESTAMP has at most 9 digits of a second", span);
        return Err(error.hint("write TIMESTAMP(9): instants are nanoseconds"));
    }
    Ok(TIMESTAMP)
}

/// The types of the manual.
const KNOWN: [&str; 14] = [
    "STRING",
    "VARCHAR",
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "DATE",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "BYTES",
];

fn custom(name: &str, sizes: &[String], span: Span) -> Result<DataType, Error> {
    if name.eq_ignore_ascii_case("TIMESTAMP_LTZ") {
        return timestamp(sizes.first().and_then(|digits| digits.parse().ok()), span);
    }
    Err(Error::unknown("type", name, span, KNOWN))
}

fn refused(declared: &ast::DataType, span: Span) -> Error {
    use ast::DataType as Sql;
    let hint = match declared {
        Sql::Array(_) | Sql::Map(..) | Sql::Struct(..) => {
            "declare the inner fields as columns, or the whole as STRING"
        }
        Sql::Time(..) => "declare a STRING, or a TIMESTAMP with its date",
        Sql::Interval { .. } => "declare a BIGINT of nanoseconds",
        Sql::Uuid | Sql::JSON | Sql::JSONB | Sql::Enum(..) => "declare a STRING",
        _ => "declare a BIGINT, a DECIMAL(38, 0) or a STRING",
    };
    Error::invalid(
        format!("columns of type {declared} are not available"),
        span,
    )
    .hint(hint)
}

/// How an Arrow type is written in SQL.
#[must_use]
pub fn sql(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        // Row numbers are unsigned, and never beyond a BIGINT.
        DataType::Int64 | DataType::UInt64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP(9)".to_owned(),
        DataType::Binary => "BYTES".to_owned(),
        other => other.to_string(),
    }
}

//! The expected telemetry readings of a text, as JSON.

use serde_json::{Value, json};

use crate::readings;

/// Returns the expected reading of a number or text.
pub(crate) fn reading(text: &str) -> Value {
    let number = readings::number_up_to(u64::MAX, text);
    number.map_or_else(|| json!({"text": text}), |number| json!({"number": number}))
}

/// Returns the expected state of a Neuron device.
pub(crate) fn state(text: &str) -> Value {
    match readings::number_up_to(u64::MAX, text) {
        Some(0) => json!("reset"),
        Some(1) => json!("ready"),
        Some(2) => json!("invalid"),
        Some(number) => json!({"unknown": number}),
        None => json!({"unread": {"text": text}}),
    }
}

/// Returns the expected power reading of a Neuron device.
pub(crate) fn power(text: &str) -> Value {
    let measured = || {
        let [status, time, min, max, average] = text.split(',').collect::<Vec<_>>()[..] else { return None };
        let status = match status.split_at_checked("POWER_STATUS_".len())? {
            ("POWER_STATUS_", "VALID") => json!("valid"),
            ("POWER_STATUS_", "NO_DATA") => json!("no_data"),
            ("POWER_STATUS_", "INVALID") => json!("invalid"),
            ("POWER_STATUS_", other) => json!({"unknown": other}),
            _ => return None,
        };
        let percent = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
        let time = readings::number_up_to(u64::MAX, time)?;
        let (min, max, average) = (percent(min)?, percent(max)?, percent(average)?);
        Some(json!({"measured": {"status": status, "time": time, "min": min, "max": max, "average": average}}))
    };
    measured().unwrap_or_else(|| json!({"unread": reading(text)}))
}

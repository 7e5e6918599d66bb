//! What no list of objects in a parameter may be.

use super::bad_values;
use serde_json::{Value, json};
use switchback_bus::{Check, MAX_OBJECTS, Parameter};

pub fn bad(check: &Check, fields: &[Parameter]) -> Vec<Value> {
    let good = check.example(&"0".repeat(32))[0].clone();
    let mut values = vec![json!("x"), json!({}), json!([7]), json!([{"nonsense": 1}])];
    for field in fields {
        for bad in bad_values(&field.check) {
            let mut object = good.clone();
            object[field.api_name()] = bad;
            values.push(json!([object]));
        }
        if field.required {
            let mut object = good.clone();
            object.as_object_mut().unwrap().remove(&field.api_name());
            values.push(json!([object]));
        }
    }
    values.push(json!(vec![good; MAX_OBJECTS + 1]));
    values
}

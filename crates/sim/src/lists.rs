//! A fault of lists: an answer that lacks rows. It must never empty an answer that is not a list.

use bytes::Bytes;
use serde_json::Value;

use crate::http_api::Reply;
use crate::rng::Rng;

/// Drops about a third of the rows of one list in the answer, at least one.
pub(crate) fn shorten(reply: Reply, rng: &mut Rng) -> Reply {
    let Ok(mut body) = serde_json::from_slice::<Value>(&reply.body) else {
        return reply;
    };
    let mut sizes = Vec::new();
    each_list(&mut body, &mut |list| sizes.push(list.len()));
    if reply.status != 200 || sizes.is_empty() {
        return reply;
    }
    let chosen = rng.below(sizes.len());
    let mut at = 0;
    each_list(&mut body, &mut |list| {
        if at == chosen {
            let first = rng.below(list.len());
            list.remove(first);
            list.retain(|_| !rng.chance(0.33));
        }
        at += 1;
    });
    Reply { body: Bytes::from(body.to_string()), ..reply }
}

/// Visits every non-empty list of objects, outer ones first.
fn each_list(value: &mut Value, visit: &mut dyn FnMut(&mut Vec<Value>)) {
    match value {
        Value::Array(list) => {
            if list.iter().any(Value::is_object) {
                visit(list);
            }
            list.iter_mut().for_each(|item| each_list(item, visit));
        }
        Value::Object(map) => map.values_mut().for_each(|item| each_list(item, visit)),
        _ => {}
    }
}

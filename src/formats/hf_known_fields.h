// formats/hf_known_fields.h: fields of config.json that nobody reads: which are harmless, which
// only at a value that changes nothing, and the refusal of all others.
#pragma once

#include "formats/json_fields.h"

namespace dure {

// Throws kUnsupported naming the first field of `json` that was not asked for through `fields` and
// may change the model.
void refuse_unknown_fields(const JsonFields& fields, const Json& json);

}  // namespace dure

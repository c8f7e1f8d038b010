// formats/hf_field_help.h: the fields of a config.json in words: type, default, meaning.
//
// For `dure train --fields`, whose `model:` block is such a file. Not here: reading them, and what
// happens to fields that no one reads (hf_config.h, hf_known_fields.h); docs/config.md says which
// field wins where several say the same.
#pragma once

#include <span>
#include <string>

namespace dure {

struct HfField {
  const char* name;           // "rope_parameters.factor": of an object
  const char* default_value;  // as JSON; "needed", or words where it depends on others
  const char* help;           // meaning, and the type in parentheses
};

// Every field that parse_hf_config() reads.
std::span<const HfField> hf_fields();

// One line a field, in the form of describe() (base/options.h), each name behind `prefix`.
std::string describe_hf_fields(const std::string& prefix);

}  // namespace dure

// quantise/type_choice.h: which type each tensor of a quantised file gets.
//
// A named mixture in llama.cpp's conventions (Q4_K_M, Q3_K_S, IQ4_XS, ...), then the user's rules
// over it, then what each tensor's rows allow. Norms, routers and their biases stay F32. Facts of
// the mixtures: llama.cpp's llama-quant.cpp (docs/quantisation.md has the table). Not here:
// encoding (block_encode.h), the file (quantise_model.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "formats/tensor_names.h"
#include "formats/tensor_source.h"
#include "text/regex.h"

namespace dure {

struct Mixture {
  std::string_view name;      // "Q4_K_M"
  DType base = DType::kQ4_K;  // what most matrices get
  int64_t file_type = 0;      // general.file_type
  std::string_view summary;   // for --help
};
const std::vector<Mixture>& mixtures();
// Also "Q4_K", "Q5_K", "Q3_K" (their _M). Any case. Throws kInvalidArgument with the nearest name
// and the list.
const Mixture& find_mixture(std::string_view name);

// One rule of a file: every selector given must hold, the first rule that holds decides.
//   rules:
//     - {match: "ffn_(gate|up)_exps", type: Q4_K}   # a regular expression on the GGUF name
//     - {role: attention, layers: 0-3, type: Q8_0}
struct TypeRule {
  std::optional<Regex> match;
  std::string role;                                 // "" or one of type_rule_roles()
  int64_t first_layer = 0, last_layer = INT64_MAX;  // by number; the MTP layer is the last
  bool layers_given = false;
  DType type = DType::kF16;
  std::string where;  // "rules.yaml: rule 2"
};
// "embedding", "head", "attention", "dense", "experts", "shared", "mtp", and every role_name().
std::vector<std::string> type_rule_roles();
// Throws kInvalidArgument naming the rule and field.
std::vector<TypeRule> parse_type_rules(const Json& json, const std::string& where);

struct TypeChoiceOptions {
  Mixture mixture;
  std::vector<TypeRule> rules;
  bool has_importance = false;  // some mixtures spend less on the first layers then
  bool pure = false;            // the base type everywhere
};

struct TypeChoice {
  TensorId id;                 // expert = -1: the whole stack
  TensorInfo info;             // GGUF name, type, shape
  DType wanted = DType::kF32;  // before the rows' length was looked at
  bool fell_back() const { return wanted != info.dtype; }
};

// Every tensor of the file in implied_stacks() order. Throws kInvalidArgument for a rule that no
// tensor meets.
std::vector<TypeChoice> choose_types(const ModelConfig& config, const TypeChoiceOptions& options);

// The nearest type whose blocks fit rows of this length: 256 -> 32 elements -> F16.
DType fitting_type(DType wanted, int64_t columns);

}  // namespace dure

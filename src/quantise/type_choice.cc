// The mixtures as functions of a tensor's place in the model; rules as JSON, the first that holds
// decides; then a type that the row's length allows. A rule that decides nothing is refused.
#include "quantise/type_choice.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/options.h"
#include "quantise/block_encode.h"

namespace dure {
namespace {

using enum TensorRole;

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::toupper(static_cast<unsigned char>(x)) ==
           std::toupper(static_cast<unsigned char>(y));
  });
}

bool is_down(TensorRole role) {
  return role == kDown || role == kExpertDown || role == kSharedDown;
}
bool in_attention(TensorRole role) { return role == kQ || role == kK || role == kV || role == kO; }

// The layers that get more bits in the _M mixtures: the first and last eighths, and every third
// between.
bool favoured(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

// Everything a mixture looks at.
struct Place {
  TensorRole role;
  int64_t layer, layers;  // the MTP layer counted
  bool many_queries;      // at least four query heads share a key head
  bool eight_experts;
  bool has_importance;
};

DType value_type(std::string_view mixture, const Place& p, DType base) {
  if (p.eight_experts) return DType::kQ8_0;
  if (mixture == "Q2_K") return p.many_queries ? DType::kQ4_K : DType::kQ3_K;
  if (mixture == "Q2_K_S") return p.many_queries ? DType::kQ4_K : base;
  if (mixture == "Q3_K_M") return p.layer < 2 ? DType::kQ5_K : DType::kQ4_K;
  if (mixture == "Q3_K_L") return DType::kQ5_K;
  if (mixture == "IQ4_NL" || mixture == "IQ4_XS") return p.many_queries ? DType::kQ5_K : base;
  if (mixture == "Q4_K_M" || mixture == "Q5_K_M")
    return favoured(p.layer, p.layers) ? DType::kQ6_K : base;
  return mixture == "Q4_K_S" && p.layer < 4 ? DType::kQ5_K : base;
}

DType down_type(std::string_view mixture, const Place& p, DType base) {
  const bool early = p.layer < p.layers / 8;
  if (mixture == "Q2_K") return DType::kQ3_K;
  if (mixture == "Q2_K_S") return early ? DType::kQ4_K : base;
  if (mixture == "Q3_K_M") return p.layer < p.layers / 16 ? DType::kQ5_K : DType::kQ4_K;
  if (mixture == "Q3_K_L") return DType::kQ5_K;
  if (mixture == "Q4_K_M" || mixture == "Q5_K_M")
    return favoured(p.layer, p.layers) ? DType::kQ6_K : base;
  if (mixture == "IQ4_NL" || mixture == "IQ4_XS")
    return early && !p.has_importance ? DType::kQ5_K : base;
  return mixture == "Q4_K_S" && early ? DType::kQ5_K : base;
}

DType output_type(std::string_view mixture, const Place& p, DType base) {
  if (p.eight_experts)
    return base == DType::kQ2_K || base == DType::kQ3_K || base == DType::kQ4_K ||
                   base == DType::kIQ4_NL || base == DType::kIQ4_XS
               ? mixture == "Q2_K_S" || mixture == "Q3_K_L" ? base : DType::kQ5_K
               : base;
  if (mixture == "Q2_K") return DType::kQ3_K;
  if (mixture == "Q3_K_M") return DType::kQ4_K;
  return mixture == "Q3_K_L" ? DType::kQ5_K : base;
}

DType mixture_type(const Mixture& mixture, const Place& p, int64_t columns, bool tied) {
  const DType base = mixture.base;
  if (!is_block(base)) return base;
  if (p.role == kHead || (tied && p.role == kEmbedding)) {
    const bool fits = columns % dtype_info(base).block_elements == 0;
    return !fits || base == DType::kQ8_0 ? DType::kQ8_0 : DType::kQ6_K;
  }
  if (p.role == kV) return value_type(mixture.name, p, base);
  if (p.role == kK && p.eight_experts) return DType::kQ8_0;
  if (p.role == kO) return output_type(mixture.name, p, base);
  return is_down(p.role) ? down_type(mixture.name, p, base) : base;
}

bool in_group(const std::string& group, TensorId id, const ModelConfig& config) {
  if (group == "mtp") return id.layer == config.layer_count() || id.role == kMtpFc;
  if (group == "embedding") return id.role == kEmbedding;
  if (group == "head") return id.role == kHead;
  if (group == "attention") return in_attention(id.role);
  if (group == "dense") return id.role == kGate || id.role == kUp || id.role == kDown;
  if (group == "experts") return is_expert(id.role);
  if (group == "shared")
    return id.role == kSharedGate || id.role == kSharedUp || id.role == kSharedDown;
  return group == role_name(id.role);
}

bool holds(const TypeRule& rule, TensorId id, const std::string& name, const ModelConfig& config) {
  if (rule.match && !rule.match->found_in(name)) return false;
  if (!rule.role.empty() && !in_group(rule.role, id, config)) return false;
  return !rule.layers_given || (id.layer >= rule.first_layer && id.layer <= rule.last_layer);
}

DType rule_type(const Json& value, const std::string& where) {
  const std::string& name = value.as_string(where);
  const auto dtype = dtype_from_name(name);
  if (dtype && has_encoder(*dtype)) return *dtype;
  std::string known;
  for (int i = 0; i <= static_cast<int>(DType::kQ2_0); ++i) {
    const auto candidate = static_cast<DType>(i);
    if (has_encoder(candidate))
      known += (known.empty() ? "" : ", ") + std::string(dtype_info(candidate).name);
  }
  fail(ErrorCode::kInvalidArgument, "{}: '{}' is no type that can be written; there are {}", where,
       name, known);
}

int64_t layer_number(const std::string& text, const std::string& where) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
    fail(ErrorCode::kInvalidArgument, "{}: '{}' is no layer; give a number or a range such as 0-3",
         where, text);
  return std::stoll(text);
}

void read_layers(const Json& value, const std::string& where, TypeRule& rule) {
  const std::string text = value.is_int() ? std::to_string(value.as_int()) : value.as_string(where);
  const size_t dash = text.find('-');
  rule.layers_given = true;
  rule.first_layer = layer_number(text.substr(0, dash), where);
  rule.last_layer =
      dash == std::string::npos ? rule.first_layer : layer_number(text.substr(dash + 1), where);
}

TypeRule parse_rule(const Json& json, const std::string& where) {
  TypeRule rule;
  rule.where = where;
  for (const auto& [key, value] : json.as_object(where)) {
    const std::string field = where + ": " + key;
    if (key == "match") {
      rule.match.emplace(value.as_string(field), field);
    } else if (key == "role") {
      rule.role = value.as_string(field);
      const std::vector<std::string> roles = type_rule_roles();
      if (std::find(roles.begin(), roles.end(), rule.role) == roles.end())
        fail(ErrorCode::kInvalidArgument, "{}: unknown role '{}'{}", field, rule.role,
             nearest_name(rule.role, roles).empty()
                 ? ""
                 : fmt::format("; did you mean '{}'?", nearest_name(rule.role, roles)));
    } else if (key == "layers") {
      read_layers(value, field, rule);
    } else if (key == "type") {
      rule.type = rule_type(value, field);
    } else {
      fail(ErrorCode::kInvalidArgument, "{}: unknown field; a rule has match, role, layers, type",
           field);
    }
  }
  if (json.find("type") == nullptr) fail(ErrorCode::kInvalidArgument, "{}: no type", where);
  if (!rule.match && rule.role.empty() && !rule.layers_given)
    fail(ErrorCode::kInvalidArgument, "{}: nothing is selected; give match, role or layers", where);
  return rule;
}

}  // namespace

const std::vector<Mixture>& mixtures() {
  static const std::vector<Mixture> all = {
      {"Q2_K", DType::kQ2_K, 10, "2.6 bits; values, down and output matrices in more"},
      {"Q2_K_S", DType::kQ2_K, 21, "2.6 bits, the smallest"},
      {"Q3_K_S", DType::kQ3_K, 11, "3.4 bits"},
      {"Q3_K_M", DType::kQ3_K, 12, "3.4 bits; value and down matrices in 4 to 5"},
      {"Q3_K_L", DType::kQ3_K, 13, "3.4 bits; value and down matrices in 5"},
      {"IQ4_XS", DType::kIQ4_XS, 30, "4.25 bits, non-linear levels"},
      {"IQ4_NL", DType::kIQ4_NL, 25, "4.5 bits, non-linear levels, blocks of 32"},
      {"Q4_0", DType::kQ4_0, 2, "4.5 bits, the simplest"},
      {"Q4_K_S", DType::kQ4_K, 14, "4.5 bits"},
      {"Q4_K_M", DType::kQ4_K, 15,
       "4.5 bits; half of the value and down matrices in 6: the usual choice"},
      {"Q5_0", DType::kQ5_0, 8, "5.5 bits, blocks of 32"},
      {"Q5_K_S", DType::kQ5_K, 16, "5.5 bits"},
      {"Q5_K_M", DType::kQ5_K, 17, "5.5 bits; half of the value and down matrices in 6"},
      {"Q6_K", DType::kQ6_K, 18, "6.6 bits"},
      {"Q8_0", DType::kQ8_0, 7, "8.5 bits, hardly to be told from the original"},
      {"F16", DType::kF16, 1, "half precision"},
      {"BF16", DType::kBF16, 32, "bfloat16"},
      {"F32", DType::kF32, 0, "single precision"},
  };
  return all;
}

const Mixture& find_mixture(std::string_view name) {
  const bool short_name =
      same_name(name, "Q3_K") || same_name(name, "Q4_K") || same_name(name, "Q5_K");
  const std::string full = std::string(name) + (short_name ? "_M" : "");
  std::vector<std::string> names;
  for (const Mixture& mixture : mixtures()) {
    if (same_name(mixture.name, full)) return mixture;
    names.emplace_back(mixture.name);
  }
  std::string upper(name), known;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (const std::string& one : names) known += (known.empty() ? "" : ", ") + one;
  const std::string near = nearest_name(upper, names);
  fail(ErrorCode::kInvalidArgument, "unknown type '{}'{}; there are {}", name,
       near.empty() ? "" : fmt::format(", did you mean {}?", near), known);
}

std::vector<std::string> type_rule_roles() {
  std::vector<std::string> out = {"embedding", "head",   "attention", "dense",
                                  "experts",   "shared", "mtp"};
  for (int i = 0; i <= static_cast<int>(kMtpNorm); ++i) {
    const auto role = static_cast<TensorRole>(i);
    if (!gguf_always_f32(role) && role != kEmbedding && role != kHead)
      out.push_back(role_name(role));
  }
  return out;
}

std::vector<TypeRule> parse_type_rules(const Json& json, const std::string& where) {
  for (const auto& [key, value] : json.as_object(where))
    if (key != "rules")
      fail(ErrorCode::kInvalidArgument, "{}: unknown field '{}'; the file is a list under 'rules'",
           where, key);
  std::vector<TypeRule> out;
  for (const Json& rule : json.at("rules").as_array(where + ": rules"))
    out.push_back(parse_rule(rule, fmt::format("{}: rule {}", where, out.size() + 1)));
  return out;
}

DType fitting_type(DType wanted, int64_t columns) {
  const auto fits = [&](DType type) { return columns % dtype_info(type).block_elements == 0; };
  if (fits(wanted)) return wanted;
  DType next = DType::kF16;
  switch (wanted) {
    case DType::kQ2_K:
    case DType::kQ3_K:
      next = DType::kQ4_0;
      break;
    case DType::kIQ4_XS:
      next = DType::kIQ4_NL;
      break;
    case DType::kQ4_K:
      next = DType::kQ5_0;
      break;
    case DType::kQ5_K:
    case DType::kQ6_K:
      next = DType::kQ8_0;
      break;
    default:
      break;
  }
  return fits(next) ? next : DType::kF16;
}

std::vector<TypeChoice> choose_types(const ModelConfig& config, const TypeChoiceOptions& options) {
  std::vector<TypeChoice> out;
  std::vector<int64_t> met(options.rules.size(), 0);
  for (const ImpliedTensor& stack : implied_stacks(config)) {
    const TensorId id = stack.id;
    TypeChoice tensor{.id = id};
    tensor.info = {gguf_name(id, config), DType::kF32, stack.shape};
    if (!gguf_always_f32(id.role)) {
      const Place place{.role = id.role,
                        .layer = id.layer,
                        .layers = config.layer_count() + config.mtp_layer_count,
                        .many_queries = config.head_count >= 4 * config.kv_head_count,
                        .eight_experts = common_experts(config).count == 8,
                        .has_importance = options.has_importance};
      tensor.wanted = options.pure ? options.mixture.base
                                   : mixture_type(options.mixture, place, tensor.info.shape.back(),
                                                  config.tied_embeddings);
      for (size_t r = 0; r < options.rules.size(); ++r) {
        if (!holds(options.rules[r], id, tensor.info.name, config)) continue;
        tensor.wanted = options.rules[r].type;
        ++met[r];
        break;
      }
      tensor.info.dtype = fitting_type(tensor.wanted, tensor.info.shape.back());
    }
    out.push_back(std::move(tensor));
  }
  for (size_t r = 0; r < met.size(); ++r) {
    if (met[r] == 0)
      fail(ErrorCode::kInvalidArgument,
           "{}: decides nothing: no tensor is selected that an earlier rule leaves (norms, routers "
           "and biases stay F32)",
           options.rules[r].where);
  }
  return out;
}

}  // namespace dure

// Field by field; what is known and refused says so by name.
#include "server/generation_fields.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <mutex>
#include <random>
#include <set>

#include "base/log.h"

namespace dure {
namespace {

constexpr double kMany = std::numeric_limits<double>::infinity();
constexpr size_t kStopsMax = 4;  // OpenAI's
constexpr size_t kBiasesMax = 1024;

uint64_t fresh_seed() {
  std::random_device device;
  const uint64_t high = device();
  return high << 32 | device();
}

int64_t to_token(const std::string& path, const std::string& text, int64_t vocab_size) {
  int64_t id = -1;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (ec != std::errc() || end != text.data() + text.size())
    throw bad_field(path, fmt::format("{}: '{}' is no token id", path, text.substr(0, 40)));
  if (id < 0 || id >= vocab_size) {
    throw bad_field(
        path, fmt::format("{}: token {} is outside the vocabulary of {}", path, id, vocab_size));
  }
  return id;
}

void read_bias(ApiFields& fields, const ServedModel& model, SamplingOptions& out) {
  const Json* bias = fields.object("logit_bias");
  if (bias == nullptr) return;
  const std::string path = fields.path("logit_bias");
  if (bias->size() > kBiasesMax)
    throw bad_field(
        path, fmt::format("{} names {} tokens; at most {} may be", path, bias->size(), kBiasesMax));
  for (const auto& [key, value] : bias->as_object()) {
    const int64_t token = to_token(path, key, model.vocab_size);
    if (!value.is_number()) throw wrong_kind(path + "." + key, "a number", value);
    const double amount = value.as_double();
    if (!(amount >= -100 && amount <= 100)) {
      throw bad_field(path, fmt::format("{}.{} should be from -100 to 100, got {}", path, key,
                                        value.dump().substr(0, 40)));
    }
    out.logit_bias.emplace_back(static_cast<int32_t>(token), amount);
  }
}

void read_sampling(ApiFields& fields, const ServedModel& model, SamplingOptions& out) {
  const auto set = [&](const char* name, double& value, FieldRange range) {
    value = fields.number(name, range).value_or(value);
  };
  set("temperature", out.temperature, {0, 2});
  set("top_p", out.top_p, {0, 1, true});
  set("min_p", out.min_p, {0, 1});
  set("frequency_penalty", out.frequency_penalty, {-2, 2});
  set("presence_penalty", out.presence_penalty, {-2, 2});
  set("repeat_penalty", out.repetition_penalty, {0, kMany, true});  // llama.cpp's name
  set("repetition_penalty", out.repetition_penalty, {0, kMany, true});
  if (const auto top_k = fields.integer("top_k", {-1, 1e9}))
    out.top_k = std::max<int64_t>(0, *top_k);
  read_bias(fields, model, out);
}

void read_token_limits(ApiFields& fields, GenerationFields& out) {
  // The first that is given; the others must be right all the same.
  for (const char* name :
       {"max_completion_tokens", "max_tokens", "max_output_tokens", "n_predict"}) {
    const std::optional<int64_t> value = fields.integer(name);
    const bool endless = name == std::string_view("n_predict") && value == -1;  // llama.cpp's
    if (!value || endless) continue;
    if (*value < 1) {
      throw bad_field(fields.path(name),
                      fmt::format("{} should be at least 1, got {}", fields.path(name), *value));
    }
    if (out.tokens_max) continue;
    out.tokens_max = value;
    out.tokens_max_name = name;
  }
  out.stops.tokens_min = fields.integer("min_tokens", {0, 1e9}).value_or(0);
  if (out.tokens_max && out.stops.tokens_min > *out.tokens_max) {
    throw bad_field(fields.path("min_tokens"),
                    fmt::format("min_tokens {} is more than {} {}", out.stops.tokens_min,
                                out.tokens_max_name, *out.tokens_max));
  }
}

void read_stop_tokens(ApiFields& fields, const ServedModel& model, AnswerStops& out) {
  out.string_included = fields.boolean("include_stop_str_in_output").value_or(false);
  out.own_ignored = fields.boolean("ignore_eos").value_or(false);
  const Json* tokens = fields.array("stop_token_ids");
  if (tokens == nullptr) return;
  const std::string path = fields.path("stop_token_ids");
  for (const Json& token : tokens->as_array()) {
    if (!token.is_int()) throw wrong_kind(path, "a list of token ids", token);
    out.tokens.push_back(
        static_cast<int32_t>(to_token(path, std::to_string(token.as_int()), model.vocab_size)));
  }
}

void read_stream(ApiFields& fields, GenerationFields& out) {
  out.stream = fields.boolean("stream").value_or(false);
  const Json* options = fields.object("stream_options");
  if (options == nullptr) return;
  if (!out.stream) {
    throw bad_field(fields.path("stream_options"), "stream_options is for streams: set \"stream\"");
  }
  ApiFields inner(*options, fields.path("stream_options"));
  out.continuous_usage = inner.boolean("continuous_usage_stats").value_or(false);
  out.include_usage = inner.boolean("include_usage").value_or(out.continuous_usage);
  inner.ignore({"include_obfuscation"});
  out.note_unknown(inner);
}

void refuse_priority(ApiFields& fields) {
  if (const auto priority = fields.integer("priority"); priority.value_or(0) != 0)
    throw unsupported(fields.path("priority"),
                      "priority: there is one queue, first come, first in");
}

void read_salt(ApiFields& fields, GenerationFields& out) {
  const auto salt = fields.string("cache_salt");
  if (salt && salt->empty())
    throw bad_field(fields.path("cache_salt"), "cache_salt is empty: leave it away, or name one");
  out.cache_salt = salt.value_or("");
}

// Names that were told already. Bounded: clients can invent them.
class ToldNames {
 public:
  bool tell(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return names_.size() < kNamesMax && names_.insert(name).second;
  }

 private:
  static constexpr size_t kNamesMax = 1000;
  std::mutex mutex_;
  std::set<std::string> names_;
};

}  // namespace

ApiError no_such_model(const std::string& name, const ServedModel& model) {
  std::string names;
  for (const std::string& known : model.names) names += (names.empty() ? "" : ", ") + known;
  for (const ServedAdapter& known : model.adapters) names += ", " + known.name;
  ApiError error = bad_field("model", fmt::format("The model `{}` does not exist. Here is: {}.",
                                                  name.substr(0, 100), names));
  error.status = 404;
  error.code = "model_not_found";
  return error;
}

const ServedAdapter* check_model(ApiFields& fields, const ServedModel& model) {
  const std::optional<std::string> name = fields.string("model");
  if (!name) return nullptr;
  if (const ServedAdapter* adapter = model.find_adapter(*name)) return adapter;
  if (model.any_name) return nullptr;
  if (std::find(model.names.begin(), model.names.end(), *name) != model.names.end()) return nullptr;
  throw no_such_model(*name, model);
}

std::vector<std::string> read_stops(ApiFields& fields, const char* name, size_t count_max) {
  const Json* given = fields.find(name);
  std::vector<std::string> out;
  if (given == nullptr) return out;
  const std::string path = fields.path(name);
  if (given->is_string()) {
    out.push_back(given->as_string());
  } else if (given->is_array()) {
    for (const Json& item : given->as_array()) {
      if (!item.is_string()) throw wrong_kind(path, "a string or a list of strings", item);
      out.push_back(item.as_string());
    }
  } else {
    throw wrong_kind(path, "a string or a list of strings", *given);
  }
  if (out.size() > count_max) {
    throw bad_field(
        path, fmt::format("{} holds {} strings; at most {} may be", path, out.size(), count_max));
  }
  if (std::find(out.begin(), out.end(), "") != out.end())
    throw bad_field(path, fmt::format("{} holds an empty string", path));
  return out;
}

void GenerationFields::note_unknown(const ApiFields& inner) {
  for (std::string& name : inner.unknown()) unknown.push_back(std::move(name));
}

std::vector<std::string> unknown_fields(const ApiFields& body, const GenerationFields& generation) {
  std::vector<std::string> out = body.unknown();
  out.insert(out.end(), generation.unknown.begin(), generation.unknown.end());
  return out;
}

void read_generation(ApiFields& fields, const ServedModel& model, GenerationFields& out) {
  out.sampling = model.defaults;
  read_sampling(fields, model, out.sampling);
  out.seed = fields.integer("seed");
  out.sampling.seed = out.seed ? static_cast<uint64_t>(*out.seed) : fresh_seed();
  read_token_limits(fields, out);
  out.stops.strings = read_stops(fields, "stop", kStopsMax);
  read_stop_tokens(fields, model, out.stops);
  out.choice_count = fields.integer("n", {1, static_cast<double>(model.choices_max)}).value_or(1);
  read_stream(fields, out);
  refuse_priority(fields);
  read_salt(fields, out);
  fields.ignore({"user", "metadata", "store", "service_tier", "safety_identifier",
                 "prompt_cache_key", "prompt_cache_retention", "session_id", "request_id", "rid",
                 "skip_special_tokens", "spaces_between_special_tokens", "cache_prompt", "id_slot",
                 "verbosity"});
}

int64_t answer_room(const GenerationFields& fields, int64_t prompt_tokens,
                    const ServedModel& model) {
  const int64_t room = model.context_tokens - prompt_tokens;
  if (room < 1) throw too_long(prompt_tokens, model.context_tokens, fields.prompt_name);
  if (!fields.tokens_max) return room;
  if (*fields.tokens_max <= room) return *fields.tokens_max;
  ApiError error = bad_field(
      fields.tokens_max_name,
      fmt::format("This model's maximum context length is {} tokens. However, you asked for {} "
                  "tokens ({} in the prompt, {} in the answer). Please reduce the length of the "
                  "messages or {}.",
                  model.context_tokens, prompt_tokens + *fields.tokens_max, prompt_tokens,
                  *fields.tokens_max, fields.tokens_max_name));
  error.code = "context_length_exceeded";
  error.prompt_tokens = prompt_tokens;
  error.context_tokens = model.context_tokens;
  throw error;
}

void warn_of_unknown(const std::vector<std::string>& all, const std::string& request_id) {
  static ToldNames told;
  std::vector<std::string> names;
  for (const std::string& name : all) {
    if (told.tell(name.substr(0, 60))) names.push_back(name);
  }
  if (names.empty()) return;
  constexpr size_t kNamesMax = 10;
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), kNamesMax); ++i)
    list += (i == 0 ? "" : ", ") + printable(names[i], 60);
  if (names.size() > kNamesMax) list += fmt::format(" and {} more", names.size() - kNamesMax);
  log_warn("{}: ignored, as no such fields are known: {}", request_id, list);
}

}  // namespace dure

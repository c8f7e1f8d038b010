// A prompt is a string, a list of strings, a list of ids, or a list of such lists.
#include "server/completion_request.h"

#include "server/answer_fields.h"

namespace dure {
namespace {

constexpr size_t kPromptsMax = 1024;
constexpr int64_t kDefaultTokens = 16;  // OpenAI's

std::vector<std::vector<int32_t>> read_prompts(ApiFields& fields, const ServedModel& model) {
  const std::string path = fields.path("prompt");
  const Json* prompt = fields.find("prompt");
  if (prompt == nullptr) throw bad_field(path, "prompt is required");
  const bool special = fields.boolean("add_special_tokens").value_or(true);
  const auto encode = [&](const Json& text) {
    return model.texts.require_tokenizer().encode(text.as_string(),
                                                  {.add_special_tokens = special});
  };
  std::vector<std::vector<int32_t>> out;
  if (prompt->is_string()) {
    out.push_back(encode(*prompt));
  } else if (!prompt->is_array()) {
    throw wrong_kind(path, "a string, a list of strings, or lists of token ids", *prompt);
  } else if (prompt->size() > 0 && prompt->at(size_t{0}).is_number()) {
    out.push_back(read_tokens(*prompt, path, model));
  } else {
    if (prompt->size() > kPromptsMax)
      throw bad_field(path,
                      fmt::format("{} prompts at once; at most {}", prompt->size(), kPromptsMax));
    for (size_t i = 0; i < prompt->size(); ++i) {
      const Json& item = prompt->at(i);
      const std::string place = fmt::format("{}.{}", path, i);
      if (!item.is_string() && !item.is_array())
        throw wrong_kind(place, "a string or a list of token ids", item);
      out.push_back(item.is_string() ? encode(item) : read_tokens(item, place, model));
    }
  }
  if (out.empty()) throw bad_field(path, "prompt is empty");
  for (const auto& ids : out) {
    if (ids.empty()) throw bad_field(path, "prompt is empty: give at least one token");
  }
  return out;
}

void read_best_of(ApiFields& fields, int64_t choice_count) {
  const auto best = fields.integer("best_of");
  if (best && *best != choice_count)
    throw unsupported(fields.path("best_of"), "best_of other than n is not supported");
}

}  // namespace

std::vector<int32_t> read_tokens(const Json& list, const std::string& path,
                                 const ServedModel& model) {
  std::vector<int32_t> out;
  for (const Json& item : list.as_array()) {
    if (!item.is_int()) throw wrong_kind(path, "a list of token ids", item);
    const int64_t id = item.as_int();
    if (id < 0 || id >= model.vocab_size) {
      throw bad_field(path, fmt::format("{}: token {} is outside the vocabulary of {}", path, id,
                                        model.vocab_size));
    }
    out.push_back(static_cast<int32_t>(id));
  }
  return out;
}

CompletionRequest read_completion_request(const Json& body, const ServedModel& model) {
  ApiFields fields(body, "");
  CompletionRequest out;
  out.generation.adapter = check_model(fields, model);
  out.echo = fields.boolean("echo").value_or(false);
  // Nothing new, the prompt scored: the one request whose answer may be of no token.
  const Json* given = fields.find("max_tokens");
  const bool score = out.echo && given != nullptr && given->is_int() && given->as_int() == 0;
  Json rest = body;
  if (score) rest["max_tokens"] = Json();
  ApiFields others(rest, "");
  out.generation.prompt_name = "prompt";
  read_generation(others, model, out.generation);
  out.generation.tokens_max = score ? 0 : out.generation.tokens_max.value_or(kDefaultTokens);
  if (const auto top =
          others.integer("logprobs", {0, static_cast<double>(model.top_logprobs_max)})) {
    out.generation.logprobs = true;
    out.generation.top_logprobs = *top;
  }
  read_answer_form(read_form_fields(others), model, out.generation);
  read_best_of(others, out.generation.choice_count);
  if (const auto suffix = others.string("suffix"); suffix && !suffix->empty()) {
    throw unsupported("suffix", "suffix: the model has not learnt to fill in the middle");
  }
  if (others.find("prompt_logprobs") != nullptr)
    throw unsupported("prompt_logprobs",
                      "prompt_logprobs is not supported yet; use echo and logprobs");
  out.prompts = read_prompts(others, model);
  others.ignore({"model", "echo"});
  out.unknown = unknown_fields(others, out.generation);
  return out;
}

}  // namespace dure

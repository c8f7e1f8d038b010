// From the most general field to the most particular one: what is read later wins.
#include "server/thinking_fields.h"

namespace dure {
namespace {

const std::vector<const char*> kEfforts = {"none", "minimal", "low", "medium",
                                           "high", "xhigh",   "max"};

// -1 is no limit.
void read_budget(ApiFields& fields, const char* name, GenerationFields& out) {
  const auto tokens = fields.integer(name, {-1, 1e9});
  if (!tokens) return;
  out.thinking_tokens = *tokens < 0 ? std::nullopt : tokens;
}

// OpenRouter's and OpenAI's: {"effort", "enabled", "max_tokens", "exclude"}.
void read_reasoning(ApiFields& fields, ChatRequest& out, std::optional<std::string>& effort) {
  const Json* reasoning = fields.object("reasoning");
  if (reasoning == nullptr) return;
  ApiFields inner(*reasoning, fields.path("reasoning"));
  if (const auto given = inner.choice("effort", kEfforts)) {
    effort = given;
    out.conversation.thinking = *given != "none";
  }
  read_budget(inner, "max_tokens", out.generation);
  if (const auto enabled = inner.boolean("enabled")) out.conversation.thinking = *enabled;
  if (inner.boolean("exclude").value_or(false)) out.include_reasoning = false;
  inner.ignore({"summary", "generate_summary"});
  out.generation.note_unknown(inner);
}

// Anthropic's: {"type", "budget_tokens"}.
void read_thinking_object(ApiFields& fields, ChatRequest& out) {
  const Json* thinking = fields.object("thinking");
  if (thinking == nullptr) return;
  ApiFields inner(*thinking, fields.path("thinking"));
  const auto type = inner.choice("type", {"enabled", "disabled", "adaptive"});
  if (!type) throw bad_field(inner.path("type"), inner.path("type") + " is required");
  out.conversation.thinking = *type != "disabled";
  read_budget(inner, "budget_tokens", out.generation);
  if (inner.choice("display", {"summarized", "omitted"}) == "omitted")
    out.include_reasoning = false;
  inner.ignore({"clear_thinking"});
  out.generation.note_unknown(inner);
}

void read_variables(ApiFields& fields, ChatRequest& out, const std::optional<std::string>& effort) {
  Json all = Json::object();
  if (effort) all["reasoning_effort"] = *effort;
  if (const Json* variables = fields.object("chat_template_kwargs")) {
    ApiFields inner(*variables, fields.path("chat_template_kwargs"));
    if (const auto enabled = inner.boolean("enable_thinking")) out.conversation.thinking = *enabled;
    for (const auto& [name, value] : variables->as_object()) all[name] = value;
  }
  if (all.size() > 0) out.conversation.variables = std::move(all);
}

}  // namespace

void read_thinking(ApiFields& fields, ChatRequest& out) {
  out.include_reasoning = fields.boolean("include_reasoning").value_or(true);
  std::optional<std::string> effort = fields.choice("reasoning_effort", kEfforts);
  if (effort) out.conversation.thinking = *effort != "none";
  read_reasoning(fields, out, effort);
  read_thinking_object(fields, out);
  if (const auto enabled = fields.boolean("enable_thinking")) out.conversation.thinking = *enabled;
  read_variables(fields, out, effort);
  for (const char* name : {"reasoning_budget", "thinking_budget_tokens", "max_thinking_tokens",
                           "thinking_budget", "thinking_token_budget"})
    read_budget(fields, name, out.generation);
  const auto format =
      fields.choice("reasoning_format", {"none", "auto", "deepseek", "deepseek-legacy"});
  const bool apart = fields.boolean("separate_reasoning").value_or(true);
  out.reasoning_in_content = !apart || format == "none";
  fields.boolean("stream_reasoning");
}

}  // namespace dure

// The endpoints that need no engine: what is served, texts and tokens, health, metrics.
#include <algorithm>

#include "server/api_call.h"
#include "server/completion_request.h"
#include "server/generation_fields.h"
#include "server/messages_api.h"
#include "server/prepare.h"
#include "server/responses_api.h"

namespace dure {
namespace {

HttpResponse json_response(const Json& body, int status = 200) {
  return {.status = status, .headers = {{"Content-Type", "application/json"}}, .body = body.dump()};
}

Json model_json(const ServedModel& model, const std::string& name) {
  Json meta = Json::object();
  meta["n_vocab"] = model.vocab_size;
  meta["n_ctx"] = model.context_tokens;
  meta["n_ctx_train"] = model.context_tokens;
  if (model.parameter_count > 0) meta["n_params"] = model.parameter_count;
  Json out = Json::object();
  out["id"] = name;
  out["object"] = "model";
  out["created"] = model.created_s;
  out["owned_by"] = "dure";
  out["root"] = model.root;
  out["parent"] = Json();
  out["max_model_len"] = model.context_tokens;
  out["meta"] = std::move(meta);
  return out;
}

Json adapter_json(const ServedModel& model, const ServedAdapter& adapter) {
  Json out = model_json(model, adapter.name);
  out["root"] = adapter.path;
  out["parent"] = model.name();
  return out;
}

int64_t count_prompt(const ChatRequest& request, const ServedModel& model) {
  const std::vector<int32_t> ids = model.texts.require_tokenizer().encode(
      render_prompt(request, model), {.add_special_tokens = false});
  return std::ssize(ids);
}

}  // namespace

HttpResponse Api::health(const Call& call) const {
  Json out = Json::object();
  if (call.ready && !draining_) {
    out["status"] = "ok";
    if (call.model().ranks) out["ranks"] = call.model().ranks().ranks;
    return json_response(out);
  }
  ApiError error = api_fault(503, "loading", "the model is being read");
  if (draining_) error = api_fault(503, "shutting_down", "the server is shutting down");
  error.retry_after_s = kLoadingRetrySeconds;
  return error.response(call.style, call.request().id);
}

HttpResponse Api::version(const Call&) const {
  Json out = Json::object();
  out["version"] = options_.version;
  return json_response(out);
}

HttpResponse Api::metrics(const Call& call) const {
  if (!options_.metrics)
    throw api_fault(404, "not_found", "metrics are switched off (--no-metrics)");
  ServerMetrics::Sources sources{.vllm_names = options_.vllm_metric_names};
  if (call.ready) {
    sources.model = call.model().name();
    sources.engine = call.ready->engine->statistics();
    if (call.model().ranks) sources.ranks = call.model().ranks();
  }
  if (http_statistics_) sources.http = http_statistics_();
  return {.headers = {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}},
          .body = metrics_.text(sources)};
}

HttpResponse Api::models(const Call& call) const {
  Json data = Json::array();
  for (const std::string& name : call.model().names) data.push_back(model_json(call.model(), name));
  for (const ServedAdapter& adapter : call.model().adapters)
    data.push_back(adapter_json(call.model(), adapter));
  Json out = Json::object();
  out["object"] = "list";
  out["data"] = std::move(data);
  return json_response(out);
}

HttpResponse Api::model(const Call& call) const {
  const std::string name = call.path.substr(std::string_view("/models/").size());
  const auto& names = call.model().names;
  if (const ServedAdapter* adapter = call.model().find_adapter(name))
    return json_response(adapter_json(call.model(), *adapter));
  if (std::find(names.begin(), names.end(), name) == names.end())
    throw no_such_model(name, call.model());
  return json_response(model_json(call.model(), name));
}

HttpResponse Api::props(const Call& call) const {
  const ServedModel& model = call.model();
  Json params = Json::object();
  params["temperature"] = model.defaults.temperature;
  params["top_k"] = model.defaults.top_k;
  params["top_p"] = model.defaults.top_p;
  params["min_p"] = model.defaults.min_p;
  params["repeat_penalty"] = model.defaults.repetition_penalty;
  params["presence_penalty"] = model.defaults.presence_penalty;
  params["frequency_penalty"] = model.defaults.frequency_penalty;
  Json settings = Json::object();
  settings["n_ctx"] = model.context_tokens;
  settings["params"] = std::move(params);
  Json modalities = Json::object();
  modalities["vision"] = false;
  modalities["audio"] = false;
  const TokenRoles& roles = model.texts.require_tokenizer().parts().roles;
  Json out = Json::object();
  out["default_generation_settings"] = std::move(settings);
  out["total_slots"] = call.ready->engine->options().generator.sequences_max;
  out["model_alias"] = model.name();
  out["model_path"] = model.root;
  out["modalities"] = std::move(modalities);
  out["bos_token"] = roles.bos;
  out["eos_token"] = roles.eos;
  out["chat_template"] = model.texts.chat_template.source();
  out["build_info"] = "dure " + options_.version;
  return json_response(out);
}

// llama.cpp's form. Places in the batch have no identity here: as many as are taken stand first.
HttpResponse Api::slots(const Call& call) const {
  const GeneratorStatistics now = call.ready->engine->statistics().generator;
  const GeneratorOptions& options = call.ready->engine->options().generator;
  if (now.running >= options.sequences_max &&
      ("&" + call.request().query + "&").find("&fail_on_no_slot=1&") != std::string::npos) {
    ApiError error = api_fault(503, "no_slot", "no slot is free");
    error.retry_after_s = 1;
    throw error;
  }
  Json out = Json::array();
  for (int64_t i = 0; i < options.sequences_max; ++i) {
    Json slot = Json::object();
    slot["id"] = i;
    slot["n_ctx"] = call.model().context_tokens;
    slot["speculative"] = options.draft_tokens_max > 0;
    slot["is_processing"] = i < now.running;
    out.push_back(std::move(slot));
  }
  return json_response(out);
}

HttpResponse Api::tokenizer_info(const Call& call) const {
  const TokenRoles& roles = call.model().texts.require_tokenizer().parts().roles;
  const auto put = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  Json out = Json::object();
  out["bos_token"] = put(roles.bos);
  out["eos_token"] = put(roles.eos);
  out["pad_token"] = put(roles.pad);
  out["unk_token"] = put(roles.unk);
  out["vocab_size"] = call.model().vocab_size;
  out["model_max_length"] = call.model().context_tokens;
  return json_response(out);
}

HttpResponse Api::tokenize(const Call& call) const {
  const ServedModel& model = call.model();
  const Tokenizer& tokenizer = model.texts.require_tokenizer();
  const Json body = parse_body(call.request().body);
  ApiFields fields(body, "");
  check_model(fields, model);
  std::vector<int32_t> ids;
  if (fields.array("messages") != nullptr) {
    const ChatRequest request = read_chat_request(body, model);
    ids = tokenizer.encode(render_prompt(request, model), {.add_special_tokens = false});
  } else {
    // vLLM's form, or llama.cpp's, which puts nothing around the text unless asked.
    const auto prompt = fields.string("prompt"), content = fields.string("content");
    if (!prompt && !content) throw bad_field("prompt", "prompt, content or messages is required");
    const bool special =
        fields.boolean(prompt ? "add_special_tokens" : "add_special").value_or(prompt.has_value());
    ids = tokenizer.encode(prompt ? *prompt : *content, {.add_special_tokens = special});
  }
  Json tokens = Json::array(), texts = Json::array();
  const bool pieces = fields.boolean("with_pieces").value_or(false);
  const bool strings = fields.boolean("return_token_strs").value_or(false);
  for (const int32_t id : ids) {
    const std::string text = tokenizer.decode(std::span(&id, 1));
    Json piece = Json::object();
    piece["id"] = int64_t{id};
    piece["piece"] = text;
    tokens.push_back(pieces ? piece : Json(int64_t{id}));
    texts.push_back(text);
  }
  Json out = Json::object();
  out["count"] = static_cast<int64_t>(ids.size());
  out["max_model_len"] = model.context_tokens;
  out["tokens"] = std::move(tokens);
  out["token_strs"] = strings ? std::move(texts) : Json();
  return json_response(out);
}

HttpResponse Api::detokenize(const Call& call) const {
  const Json body = parse_body(call.request().body);
  ApiFields fields(body, "");
  check_model(fields, call.model());
  const Json* tokens = fields.array("tokens");
  if (tokens == nullptr) throw bad_field("tokens", "tokens is required");
  const std::string text =
      call.model().texts.require_tokenizer().decode(read_tokens(*tokens, "tokens", call.model()));
  Json out = Json::object();
  out["prompt"] = text;
  out["content"] = text;
  return json_response(out);
}

HttpResponse Api::apply_template(const Call& call) const {
  const ChatRequest request = read_chat_request(parse_body(call.request().body), call.model());
  Json out = Json::object();
  out["prompt"] = render_prompt(request, call.model());
  return json_response(out);
}

HttpResponse Api::count_tokens(const Call& call) const {
  const ChatRequest request = read_messages_request(parse_body(call.request().body), call.model());
  Json out = Json::object();
  out["input_tokens"] = count_prompt(request, call.model());
  return json_response(out);
}

HttpResponse Api::input_tokens(const Call& call) const {
  const ChatRequest request = read_responses_request(parse_body(call.request().body), call.model());
  Json out = Json::object();
  out["object"] = "response.input_tokens";
  out["input_tokens"] = count_prompt(request, call.model());
  return json_response(out);
}

HttpResponse Api::embeddings(const Call&) const {
  throw api_fault(501, "not_supported",
                  "embeddings: the model writes text, and has no vectors to give");
}

}  // namespace dure

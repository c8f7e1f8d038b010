// One request a question; the whole answer is waited for.
#include "eval/remote_answerer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/python_text.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

// The question, or the question and its longest answer, are beyond the model's context.
struct BeyondContext {};

bool says_beyond_context(const WebAnswer& answer) {
  if (answer.status != 400 && answer.status != 413 && answer.status != 422) return false;
  const std::string said = api_error_text(answer.body);
  return answer.body.find("context_length_exceeded") != std::string::npos ||
         said.find("maximum context length") != std::string::npos ||
         said.find("context window") != std::string::npos;
}

bool worth_another_try(int status) { return status == 429 || status == 408 || status >= 500; }

Json api_call(const ToolCall& call) {
  Json function = Json::object();
  function["name"] = call.name;
  function["arguments"] =
      call.arguments.is_string() ? call.arguments.as_string() : call.arguments.dump();
  Json out = Json::object();
  out["id"] = call.id;
  out["type"] = "function";
  out["function"] = std::move(function);
  return out;
}

Json api_message(const Message& message) {
  Json out = Json::object();
  out["role"] = role_name(message.role);
  out["content"] = message.content;
  if (!message.tool_call_id.empty()) out["tool_call_id"] = message.tool_call_id;
  if (!message.name.empty()) out["name"] = message.name;
  if (message.tool_calls.empty()) return out;
  Json calls = Json::array();
  for (const ToolCall& call : message.tool_calls) calls.push_back(api_call(call));
  out["tool_calls"] = std::move(calls);
  return out;
}

// The part of a whole answer that every endpoint has.
const Json& choice_of(const Json& answer) {
  const Json* choices = json_member(&answer, "choices");
  if (choices == nullptr || !choices->is_array() || choices->size() == 0)
    fail(ErrorCode::kIo, "the server answers without choices");
  return choices->at(size_t{0});
}

void read_calls(const Json* message, Answer& out) {
  const Json* calls = json_member(message, "tool_calls");
  if (calls == nullptr || !calls->is_array()) return;
  for (const Json& call : calls->as_array()) {
    const Json* function = json_member(&call, "function");
    const Json* arguments = json_member(function, "arguments");
    out.tool_calls.push_back(
        {.id = json_text(&call, "id"),
         .name = json_text(function, "name"),
         .arguments = arguments != nullptr ? parsed_arguments(*arguments) : Json::object()});
  }
}

// Servers without a parser of reasoning leave it in the content.
void part_reasoning(Answer& out) {
  constexpr std::string_view kEnd = "</think>";
  const size_t end = out.content.find(kEnd);
  if (!out.reasoning.empty() || end == std::string::npos) return;
  std::string before = out.content.substr(0, end);
  if (const size_t begin = before.find("<think>"); begin != std::string::npos)
    before.erase(0, begin + 7);
  out.reasoning = std::string(python_strip(before));
  out.content = std::string(python_strip(out.content.substr(end + kEnd.size())));
}

// Numbers that no answer can have are none.
int64_t told_count(const Json& json, const char* name) {
  constexpr int64_t kTokensMax = int64_t{1} << 32;
  const int64_t count = json_count(json_member(&json, "usage"), name);
  return count >= 0 && count <= kTokensMax ? count : 0;
}

Said read_answer(const Json& json, bool chat) {
  const Json& choice = choice_of(json);
  Said out{.prompt_tokens = told_count(json, "prompt_tokens"),
           .tokens = told_count(json, "completion_tokens")};
  const Json* message = json_member(&choice, "message");
  out.answer.content = chat ? json_text(message, "content") : json_text(&choice, "text");
  out.answer.reasoning = json_text(message, "reasoning_content");
  if (out.answer.reasoning.empty()) out.answer.reasoning = json_text(message, "reasoning");
  read_calls(message, out.answer);
  if (chat) part_reasoning(out.answer);
  const bool cut = json_text(&choice, "finish_reason") == "length";
  out.end = cut ? SaidEnd::kLength : SaidEnd::kStop;
  out.answer.finished = !cut;
  return out;
}

int64_t code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

// Of an echoed text: the sum behind `prompt`, whose tokens are told apart by their offsets.
void add_score(const Json& answer, std::string_view prompt, Said& out, const std::string& at) {
  const Json* told = json_member(&choice_of(answer), "logprobs");
  const Json* values = json_member(told, "token_logprobs");
  const Json* offsets = json_member(told, "text_offset");
  const bool whole = values != nullptr && offsets != nullptr && values->is_array() &&
                     offsets->is_array() && values->size() == offsets->size();
  if (!whole) {
    fail(ErrorCode::kUnsupported,
         "{}: it does not tell the log-probabilities of a prompt (echo with logprobs at "
         "/completions): tasks of mode log_likelihood cannot be measured there",
         at);
  }
  const int64_t begin = code_points(prompt);
  double sum = 0;
  int64_t count = 0;
  for (size_t i = 0; i < values->size(); ++i) {
    const bool last = i + 1 == values->size();
    const int64_t end = last ? begin + 1 : offsets->at(i + 1).as_int();
    if (end <= begin || values->at(i).is_null()) continue;
    sum += values->at(i).as_double();
    ++count;
  }
  out.answer.log_likelihoods.push_back(sum);
  out.answer.continuation_tokens.push_back(count);
  out.tokens += count;
}

}  // namespace

Json api_messages(const std::vector<Message>& messages) {
  Json out = Json::array();
  for (const Message& message : messages) out.push_back(api_message(message));
  return out;
}

RemoteAnswerer::RemoteAnswerer(const RemoteAnswererOptions& options)
    : options_(options),
      client_(api_root(options.address), {.silent_seconds = options.answer_s}),
      key_(api_key_for(client_.address())),
      model_(options.model.empty() ? first_model(client_, key_) : options.model) {}

Json RemoteAnswerer::identity() const {
  Json out = Json::object();
  out["address"] = client_.address().text();
  out["model"] = model_;
  return out;
}

// False where there is to be no further try.
bool RemoteAnswerer::pause(int64_t tries, double asked_for_s) const {
  if (tries >= options_.tries_max) return false;
  const double grown =
      std::min(60.0, options_.pause_s * std::pow(2.0, static_cast<double>(tries - 1)));
  const double wait = std::max(grown, std::min(asked_for_s, kRetryAfterMax));
  const auto end = Clock::now() + std::chrono::duration<double>(wait);
  while (Clock::now() < end && !stopped_)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  return !stopped_;
}

void RemoteAnswerer::tell_retry(const std::string& kind, const std::string& what) {
  {
    const std::lock_guard lock(mutex_);
    if (!told_.insert(kind).second) return;
  }
  log_warn("{}: asked again, up to {} times: {}", client_.address().text(), options_.tries_max - 1,
           what);
}

Json RemoteAnswerer::ask(const char* path, const Json& body) {
  const std::string text = body.dump();
  for (int64_t tries = 1, late = 0;; ++tries) {
    const auto end = Clock::now() + std::chrono::duration<double>(options_.answer_s);
    try {
      const WebAnswer answer = client_.ask(api_request("POST", path, text, key_), nullptr,
                                           [&] { return !stopped_ && Clock::now() < end; });
      if (answer.stopped && stopped_) fail(ErrorCode::kInterrupted, "interrupted");
      if (answer.stopped || (late > 0 && Clock::now() >= end)) {
        const std::string why =
            fmt::format("no answer within {:g} seconds (--timeout)", options_.answer_s);
        if (++late > 1) fail(ErrorCode::kUnavailable, "{}: {}", client_.address().text(), why);
        tell_retry("late", why);
        continue;
      }
      const bool again = worth_another_try(answer.status);
      if (again && tries < options_.tries_max)
        tell_retry(std::to_string(answer.status),
                   fmt::format("it answers {}: {}", answer.status, api_error_text(answer.body)));
      if (!again || !pause(tries, answer.retry_after_s)) {
        if (stopped_) fail(ErrorCode::kInterrupted, "interrupted");
        if (says_beyond_context(answer)) throw BeyondContext();
        require_good(answer, client_.address(), !key_.empty());
        return parse_server_answer(answer.body);
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo) throw;
      if (tries < options_.tries_max) tell_retry(error.what(), error.what());
      if (!pause(tries, 0)) throw;
    }
  }
}

// What every endpoint takes. Fields at their defaults are not sent: servers refuse those that they
// do not know.
Json RemoteAnswerer::settings_json(const Question& question) const {
  const AskSettings& s = question.settings;
  Json out = Json::object();
  out["model"] = model_;
  out["temperature"] = s.temperature;
  out["top_p"] = s.top_p;
  if (s.top_k > 0) out["top_k"] = s.top_k;
  if (s.min_p > 0) out["min_p"] = s.min_p;
  if (s.presence_penalty != 0) out["presence_penalty"] = s.presence_penalty;
  out["max_tokens"] = question.new_tokens_max;
  if (options_.send_seed)
    out["seed"] = static_cast<int64_t>((question.seed ^ question.stream) & 0x7fffffff);
  if (!question.stop.empty()) out["stop"] = Json::array_of(question.stop);
  return out;
}

// Servers that refuse an answer longer than the rest of the context are asked for that rest.
Said RemoteAnswerer::ask_within_context(const char* path, Json body, bool chat) {
  try {
    return read_answer(ask(path, body), chat);
  } catch (const BeyondContext&) {
  }
  body["max_tokens"] = Json();
  try {
    return read_answer(ask(path, body), chat);
  } catch (const BeyondContext&) {
    Said out{.end = SaidEnd::kTooLong};
    out.answer.finished = false;
    return out;
  }
}

Said RemoteAnswerer::answer(const Question& question) {
  const Clock::time_point begin = Clock::now();
  const bool chat = question.form == PromptForm::kChat;
  Json body = settings_json(question);
  if (chat) {
    body["messages"] = api_messages(question.messages);
    if (!question.tools.is_null()) body["tools"] = question.tools;
    Json variables = Json::object();
    variables["enable_thinking"] = question.settings.thinking;
    body["chat_template_kwargs"] = std::move(variables);
  } else {
    body["prompt"] = plain_prompt(question.messages);
  }
  Said out = ask_within_context(chat ? "/chat/completions" : "/completions", std::move(body), chat);
  out.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return out;
}

Said RemoteAnswerer::score(const Question& question,
                           const std::vector<std::string>& continuations) {
  const Clock::time_point begin = Clock::now();
  const std::string prompt = plain_prompt(question.messages);
  Said out;
  for (const std::string& text : continuations) {
    Json body = Json::object();
    body["model"] = model_;
    body["prompt"] = prompt + text;
    body["max_tokens"] = 0;
    body["echo"] = true;
    body["logprobs"] = 0;
    try {
      add_score(ask("/completions", body), prompt, out, client_.address().text());
    } catch (const BeyondContext&) {
      return {.answer = {.finished = false}, .end = SaidEnd::kTooLong};
    }
  }
  out.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return out;
}

Answer RemoteAnswerer::reply(const std::vector<Message>& messages, const Json& tools) {
  Json body = Json::object();
  body["model"] = model_;
  body["messages"] = api_messages(messages);
  body["temperature"] = 0;
  if (tools.is_array() && tools.size() > 0) body["tools"] = tools;
  try {
    return read_answer(ask("/chat/completions", body), true).answer;
  } catch (const BeyondContext&) {
    return {.content = "(the conversation is beyond the context of " + model_ + ")"};
  }
}

}  // namespace dure

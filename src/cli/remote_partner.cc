// A server of OpenAI's API: one streamed chat completion for each answer. What a person did not set
// is not sent: servers refuse fields that they do not know.
#include <chrono>
#include <cstdlib>

#include "base/error.h"
#include "base/utf8.h"
#include "cli/chat_partner.h"
#include "client/http_client.h"
#include "client/sse_reader.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

// DURE_API_KEY; OpenAI's own variable only under TLS, since it is a secret of another place.
std::string key_for(const WebAddress& address) {
  for (const char* name : {"DURE_API_KEY", "OPENAI_API_KEY"}) {
    const char* key = std::getenv(name);
    const bool may = address.tls || std::string_view(name) == "DURE_API_KEY";
    if (may && key != nullptr && *key != '\0') return key;
  }
  return "";
}

// Of http://host:8000, http://host:8000/v1 or the address of the endpoint itself: the API's root.
WebAddress api_root(const std::string& text) {
  constexpr std::string_view kEndpoint = "/chat/completions";
  WebAddress out = parse_web_address(text);
  if (out.path.ends_with(kEndpoint)) out.path.resize(out.path.size() - kEndpoint.size());
  if (out.path.empty()) out.path = "/v1";
  return out;
}

const Json* member(const Json* object, const char* name) {
  return object != nullptr && object->is_object() ? object->find(name) : nullptr;
}

std::string text_of(const Json* object, const char* name) {
  const Json* value = member(object, name);
  return value != nullptr && value->is_string() ? value->as_string() : "";
}

int64_t count_of(const Json* object, const char* name) {
  const Json* value = member(object, name);
  return value != nullptr && value->is_int() ? value->as_int() : 0;
}

// {"error": {"message"}}, {"error": "text"}, {"message"}; else the body's beginning.
std::string error_text(const std::string& body) {
  try {
    const Json json = parse_json(body, "answer");
    const Json* error = member(&json, "error");
    if (error != nullptr && error->is_string()) return error->as_string();
    std::string said = text_of(error, "message");
    if (said.empty()) said = text_of(&json, "message");
    if (!said.empty()) return said;
  } catch (const Error&) {
  }
  std::string line = body.substr(0, body.find('\n'));
  if (line.size() > 200) line = line.substr(0, utf8_start(line, 200)) + "...";
  return line.empty() ? "it says nothing more" : line;
}

// What a stream of chunks has said so far.
class ChunkReader {
 public:
  explicit ChunkReader(const ChatPartner::Say& say) : say_(say) {}

  void read(const Json& chunk) {
    if (const Json* error = member(&chunk, "error")) {
      const std::string said = error->is_string() ? error->as_string() : text_of(error, "message");
      fail(ErrorCode::kIo, "the server broke the answer off: {}", said);
    }
    if (const int64_t tokens = count_of(member(&chunk, "usage"), "completion_tokens")) {
      out_.tokens = tokens;
      out_.prompt_tokens = count_of(member(&chunk, "usage"), "prompt_tokens");
    }
    const Json* choices = member(&chunk, "choices");
    if (choices == nullptr || !choices->is_array() || choices->size() == 0) return;
    const Json& choice = choices->at(size_t{0});
    const Json* said = member(&choice, "delta");
    read_message(said != nullptr ? said : member(&choice, "message"));
    if (text_of(&choice, "finish_reason") == "length") out_.end = ChatAnswer::End::kLength;
  }

  ChatAnswer finish(bool stopped) {
    OutputDelta calls;
    for (ToolCall& call : out_.message.tool_calls) {
      call.arguments = parsed_arguments(call.arguments);
      calls.tool_calls.push_back(call);
    }
    if (!calls.empty()) say_(calls);
    if (stopped) out_.end = ChatAnswer::End::kStopped;
    if (first_) {
      out_.first_s = std::chrono::duration<double>(*first_ - begin_).count();
      out_.decode_s = std::chrono::duration<double>(last_ - *first_).count();
    }
    return std::move(out_);
  }

 private:
  void read_message(const Json* said) {
    OutputDelta delta;
    delta.reasoning = text_of(said, "reasoning_content");
    if (delta.reasoning.empty()) delta.reasoning = text_of(said, "reasoning");
    delta.content = text_of(said, "content");
    const Json* calls = member(said, "tool_calls");
    if (calls != nullptr && calls->is_array()) {
      for (const Json& call : calls->as_array()) read_call(call);
    }
    if (delta.empty()) return;
    last_ = Clock::now();
    if (!first_) first_ = last_;
    out_.message.reasoning += delta.reasoning;
    out_.message.content += delta.content;
    say_(delta);
  }
  void read_call(const Json& piece) {
    std::vector<ToolCall>& calls = out_.message.tool_calls;
    const Json* index = member(&piece, "index");
    const size_t at = index != nullptr && index->is_int() && index->as_int() >= 0
                          ? static_cast<size_t>(index->as_int())
                          : calls.size();
    if (at > calls.size()) return;  // Pieces of a call that never began.
    if (at == calls.size()) calls.push_back({.arguments = Json("")});
    const Json* function = member(&piece, "function");
    calls[at].id += text_of(&piece, "id");
    calls[at].name += text_of(function, "name");
    calls[at].arguments = calls[at].arguments.as_string() + text_of(function, "arguments");
  }

  const ChatPartner::Say& say_;
  ChatAnswer out_{.message = {.role = Role::kAssistant}};
  Clock::time_point begin_ = Clock::now(), last_;
  std::optional<Clock::time_point> first_;
};

class RemotePartner final : public ChatPartner {
 public:
  explicit RemotePartner(const RemoteOptions& options)
      : client_(api_root(options.address)), key_(key_for(client_.address())) {
    model_ = options.model ? *options.model : first_model();
  }

  std::string name() const override {
    return fmt::format("{} at {}", model_, client_.address().text());
  }
  std::string facts() const override { return "the server keeps its own counts (/metrics)"; }

  ChatAnswer answer(const ChatTurn& turn, const Say& say,
                    const std::function<bool()>& keep_on) override {
    ChunkReader chunks(say);
    SseReader events;
    std::string whole;
    std::optional<bool> streams;  // known from the first byte
    const auto read = [&](const SseEvent& event) {
      if (event.data != "[DONE]") chunks.read(parse_json(event.data, "the server's event"));
    };
    const WebAnswer answer = client_.ask(
        request("POST", "/chat/completions", body(turn).dump()),
        [&](std::string_view bytes) {
          // One that does not stream answers with a JSON object.
          if (!streams) streams = bytes.front() != '{' && bytes.front() != ' ';
          if (*streams) {
            events.push(bytes, read);
          } else {
            whole += bytes;
          }
        },
        keep_on);
    if (!answer.stopped) require_good(answer);
    if (!whole.empty() && !answer.stopped) chunks.read(parse_json(whole, "the server's answer"));
    ChatAnswer out = chunks.finish(answer.stopped);
    out.tokens_max = turn.settings.max_tokens.value_or(0);
    return out;
  }

 private:
  WebRequest request(const char* method, const char* path, std::string body) const {
    WebRequest out{.method = method, .path = path, .body = std::move(body)};
    out.headers = {{"Accept", "application/json, text/event-stream"}, {"User-Agent", "dure"}};
    if (!out.body.empty()) out.headers.emplace_back("Content-Type", "application/json");
    if (!key_.empty()) out.headers.emplace_back("Authorization", "Bearer " + key_);
    return out;
  }

  void require_good(const WebAnswer& answer) const {
    if (answer.status >= 200 && answer.status < 300) return;
    const std::string& at = client_.address().text();
    if (answer.status == 401) {
      fail(ErrorCode::kInvalidArgument, "{} wants a key{}: set DURE_API_KEY ({})", at,
           key_.empty() ? "" : ", and the one given is none of its", error_text(answer.body));
    }
    if (answer.status >= 300 && answer.status < 400)
      fail(ErrorCode::kInvalidArgument, "{} points elsewhere ({}); give the address it points to",
           at, answer.status);
    fail(ErrorCode::kInvalidArgument, "{} refuses ({}): {}", at, answer.status,
         error_text(answer.body));
  }

  std::string first_model() const {
    const WebAnswer answer = client_.ask(request("GET", "/models", ""));
    if (answer.status == 404 || answer.status == 405)
      fail(ErrorCode::kInvalidArgument,
           "{} does not say which models it has ({}); is the address right? --model NAME asks for "
           "one unseen",
           client_.address().text(), answer.status);
    require_good(answer);
    try {
      const Json json = parse_json(answer.body, "models");
      const Json* list = member(&json, "data");
      if (list != nullptr && list->is_array() && list->size() > 0) {
        const std::string name = text_of(&list->at(size_t{0}), "id");
        if (!name.empty()) return name;
      }
    } catch (const Error&) {
    }
    fail(ErrorCode::kInvalidArgument,
         "{} answers, but not as OpenAI's API does; is the address right? --model NAME asks for a "
         "model unseen",
         client_.address().text());
  }

  Json body(const ChatTurn& turn) const {
    Json out = Json::object();
    out["model"] = model_;
    out["messages"] = messages_json(turn.messages);
    out["stream"] = true;
    out["stream_options"] = parse_json(R"({"include_usage":true})", "options");
    const ChatSettings& s = turn.settings;
    const auto put = [&](const char* name, const auto& value) {
      if (value) out[name] = *value;
    };
    put("temperature", s.temperature);
    put("top_p", s.top_p);
    put("min_p", s.min_p);
    put("repetition_penalty", s.repetition_penalty);
    put("presence_penalty", s.presence_penalty);
    put("frequency_penalty", s.frequency_penalty);
    put("top_k", s.top_k);
    put("seed", s.seed);
    put("max_tokens", s.max_tokens);
    if (turn.thinking) {
      Json variables = Json::object();
      variables["enable_thinking"] = *turn.thinking;
      out["chat_template_kwargs"] = std::move(variables);
    }
    return out;
  }
  // Role and content alone: reasoning of earlier turns is no part of a conversation.
  static Json messages_json(const std::vector<Message>& messages) {
    Json out = Json::array();
    for (const Message& message : messages) {
      Json one = Json::object();
      one["role"] = role_name(message.role);
      one["content"] = message.content;
      out.push_back(std::move(one));
    }
    return out;
  }

  HttpClient client_;
  std::string key_, model_;
};

}  // namespace

std::unique_ptr<ChatPartner> open_remote_partner(const RemoteOptions& options) {
  return std::make_unique<RemotePartner>(options);
}

}  // namespace dure

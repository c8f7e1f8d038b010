// A server of OpenAI's API: one streamed chat completion for each answer. What a person did not set
// is not sent: servers refuse fields that they do not know.
#include <chrono>

#include "base/error.h"
#include "cli/chat_partner.h"
#include "client/openai_api.h"
#include "client/sse_reader.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

// What a stream of chunks has said so far.
class ChunkReader {
 public:
  explicit ChunkReader(const ChatPartner::Say& say) : say_(say) {}

  void read(const Json& chunk) {
    if (const Json* error = json_member(&chunk, "error")) {
      const std::string said =
          error->is_string() ? error->as_string() : json_text(error, "message");
      fail(ErrorCode::kIo, "the server broke the answer off: {}", said);
    }
    if (const int64_t tokens = json_count(json_member(&chunk, "usage"), "completion_tokens")) {
      out_.tokens = tokens;
      out_.prompt_tokens = json_count(json_member(&chunk, "usage"), "prompt_tokens");
    }
    const Json* choices = json_member(&chunk, "choices");
    if (choices == nullptr || !choices->is_array() || choices->size() == 0) return;
    const Json& choice = choices->at(size_t{0});
    const Json* said = json_member(&choice, "delta");
    read_message(said != nullptr ? said : json_member(&choice, "message"));
    if (json_text(&choice, "finish_reason") == "length") out_.end = ChatAnswer::End::kLength;
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
    delta.reasoning = json_text(said, "reasoning_content");
    if (delta.reasoning.empty()) delta.reasoning = json_text(said, "reasoning");
    delta.content = json_text(said, "content");
    const Json* calls = json_member(said, "tool_calls");
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
    const Json* index = json_member(&piece, "index");
    const size_t at = index != nullptr && index->is_int() && index->as_int() >= 0
                          ? static_cast<size_t>(index->as_int())
                          : calls.size();
    if (at > calls.size()) return;  // Pieces of a call that never began.
    if (at == calls.size()) calls.push_back({.arguments = Json("")});
    const Json* function = json_member(&piece, "function");
    calls[at].id += json_text(&piece, "id");
    calls[at].name += json_text(function, "name");
    calls[at].arguments = calls[at].arguments.as_string() + json_text(function, "arguments");
  }

  const ChatPartner::Say& say_;
  ChatAnswer out_{.message = {.role = Role::kAssistant}};
  Clock::time_point begin_ = Clock::now(), last_;
  std::optional<Clock::time_point> first_;
};

class RemotePartner final : public ChatPartner {
 public:
  explicit RemotePartner(const RemoteOptions& options)
      : client_(api_root(options.address)), key_(api_key_for(client_.address())) {
    model_ = options.model ? *options.model : first_model(client_, key_);
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
        api_request("POST", "/chat/completions", body(turn).dump(), key_),
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
    if (!answer.stopped) require_good(answer, client_.address(), !key_.empty());
    if (!whole.empty() && !answer.stopped) chunks.read(parse_json(whole, "the server's answer"));
    ChatAnswer out = chunks.finish(answer.stopped);
    out.tokens_max = turn.settings.max_tokens.value_or(0);
    return out;
  }

 private:
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

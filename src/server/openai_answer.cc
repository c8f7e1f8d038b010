// Chunks are put together as text around the few parts that change; whole answers as JSON values.
#include "server/openai_answer.h"

#include <algorithm>
#include <array>
#include <random>

#include "base/utf8.h"

namespace dure {
namespace {

// Never infinite: JSON has no such number.
Json logprob_json(float value) { return Json(std::max(-9999.0, static_cast<double>(value))); }

bool is_utf8(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const int length = utf8_length(bytes, i);
    if (length <= 0) return false;
    i += static_cast<size_t>(length);
  }
  return true;
}

// ---- Log-probabilities of a chat

Json chat_token_json(const AnswerHead& head, int32_t token, float log_probability) {
  const std::string_view bytes = head.tokenizer->token_bytes(token);
  Json out = Json::object();
  out["token"] = head.tokenizer->decode(std::array{token});
  out["logprob"] = logprob_json(log_probability);
  Json list = Json::array();
  for (const char byte : bytes) list.push_back(int64_t{static_cast<uint8_t>(byte)});
  out["bytes"] = std::move(list);
  return out;
}

Json chat_logprobs_json(const AnswerHead& head, std::span<const TokenRecord> tokens) {
  Json out = Json::object();
  out["content"] = logprobs_json(head, tokens);
  out["refusal"] = Json();
  return out;
}

// ---- Log-probabilities of a completion

// Texts are keys there, and half a character has none of its own.
std::string completion_token_text(const Tokenizer& tokenizer, int32_t token) {
  const std::string_view bytes = tokenizer.token_bytes(token);
  if (is_utf8(bytes)) return std::string(bytes);
  std::string out = "bytes:";
  for (const char byte : bytes) out += fmt::format("\\x{:02x}", static_cast<uint8_t>(byte));
  return out;
}

int64_t character_count(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return !is_utf8_tail(c); });
}

// The lists of a completion's log-probabilities, over all of its tokens.
class CompletionLogprobs {
 public:
  explicit CompletionLogprobs(const AnswerHead& head) : head_(&head) {}

  void add(std::span<const TokenRecord> tokens, bool first_unknown = false) {
    for (const TokenRecord& record : tokens) {
      const std::string text = completion_token_text(*head_->tokenizer, record.token);
      const bool unknown = std::exchange(first_unknown, false);
      offsets_.push_back(offset_);
      offset_ += character_count(head_->tokenizer->token_bytes(record.token));
      texts_.push_back(text);
      values_.push_back(unknown ? Json() : logprob_json(record.log_probability));
      tops_.push_back(unknown ? Json() : top_json(record, text));
    }
  }
  // What was added since the last call.
  Json take() {
    Json out = Json::object();
    out["text_offset"] = std::exchange(offsets_, Json::array());
    out["token_logprobs"] = std::exchange(values_, Json::array());
    out["tokens"] = std::exchange(texts_, Json::array());
    out["top_logprobs"] = std::exchange(tops_, Json::array());
    return out;
  }

 private:
  // The token that was drawn is always among them.
  Json top_json(const TokenRecord& record, const std::string& text) const {
    Json out = Json::object();
    out[text] = logprob_json(record.log_probability);
    for (const TokenLogProbability& t : record.top) {
      const std::string key = completion_token_text(*head_->tokenizer, t.token);
      if (!out.contains(key)) out[key] = logprob_json(t.log_probability);
    }
    return out;
  }

  const AnswerHead* head_;
  int64_t offset_ = 0;
  Json offsets_ = Json::array(), values_ = Json::array(), texts_ = Json::array(),
       tops_ = Json::array();
};

const char* reason_text(AnswerEnd reason) {
  switch (reason) {
    case AnswerEnd::kStop:
      return "stop";
    case AnswerEnd::kLength:
      return "length";
    case AnswerEnd::kToolCalls:
      return "tool_calls";
  }
  return "stop";
}

Json stop_reason_json(const ChoiceEnd& end) {
  if (end.stop_string) return Json(*end.stop_string);
  if (end.stop_token) return Json(int64_t{*end.stop_token});
  return {};
}

Json call_json(const ToolCall& call) {
  Json function = Json::object();
  function["name"] = call.name;
  function["arguments"] = call.arguments.is_null() ? "{}" : call.arguments.dump();
  Json out = Json::object();
  out["id"] = fresh_id("call_");
  out["type"] = "function";
  out["function"] = std::move(function);
  return out;
}

Json answer_json(const AnswerHead& head, const char* object) {
  Json out = Json::object();
  out["id"] = head.id;
  out["object"] = object;
  out["created"] = head.created_s;
  out["model"] = head.model;
  out["system_fingerprint"] = "dure";
  return out;
}

// ---- Chunks

class ChunkFormat : public AnswerFormat {
 public:
  ChunkFormat(AnswerHead head, const char* object)
      : head_(std::move(head)), prefix_(answer_json(head_, object).dump()) {
    prefix_.pop_back();  // "}"
    prefix_ += ",\"choices\":[";
  }
  bool streams() const override { return true; }
  std::string end(const AnswerTotals& totals) override {
    std::string out;
    if (head_.include_usage) {
      out = "data: " + prefix_ + "],\"usage\":" + usage_json(totals).dump() +
            ",\"timings\":" + timings_json(totals).dump() + "}\n\n";
    }
    return out + "data: [DONE]\n\n";
  }
  std::string fail(const ApiError& error) override {
    return sse_event(error.body(ApiStyle::kOpenAi, head_.id)) + "data: [DONE]\n\n";
  }

 protected:
  // `inside`: the members of a choice beside its index.
  std::string chunk(int64_t choice, const std::string& inside,
                    const AnswerTotals* so_far = nullptr) const {
    std::string usage;
    if (head_.continuous_usage && so_far != nullptr) {
      usage = ",\"usage\":" + usage_json(*so_far).dump();
    } else if (head_.include_usage) {
      usage = ",\"usage\":null";
    }
    return fmt::format("data: {}{{\"index\":{},{}}}]{}}}\n\n", prefix_, choice, inside, usage);
  }

  AnswerHead head_;
  std::string prefix_;
};

class ChatStream final : public ChunkFormat {
 public:
  explicit ChatStream(AnswerHead head)
      : ChunkFormat(std::move(head), "chat.completion.chunk"),
        call_counts_(static_cast<size_t>(head_.choice_count)) {}

  std::string begin() override {
    std::string out;
    for (int64_t i = 0; i < head_.choice_count; ++i) {
      out += chunk(i, R"("delta":{"role":"assistant","content":""},"logprobs":null,)"
                      R"("finish_reason":null)");
    }
    return out;
  }
  std::string add(const AnswerPart& part, const AnswerTotals& so_far) override {
    const std::string logprobs = head_.logprobs && !part.tokens.empty()
                                     ? chat_logprobs_json(head_, part.tokens).dump()
                                     : "null";
    std::string out;
    const auto put = [&](const std::string& delta) {
      out += chunk(part.choice,
                   fmt::format("\"delta\":{{{}}},\"logprobs\":{},\"finish_reason\":null", delta,
                               out.empty() ? logprobs : "null"),
                   &so_far);
    };
    if (!part.delta.reasoning.empty())
      put(fmt::format("\"{}\":", head_.reasoning_field) + json_quote(part.delta.reasoning));
    if (!part.delta.content.empty()) put("\"content\":" + json_quote(part.delta.content));
    for (const CallPiece& piece : pieces_of(part.delta)) {
      int64_t& count = call_counts_[static_cast<size_t>(part.choice)];
      if (piece.begins) {
        put(fmt::format(
            R"("tool_calls":[{{"index":{},"id":"{}","type":"function","function":{{"name":{},"arguments":""}}}}])",
            count++, fresh_id("call_"), json_quote(piece.name)));
      }
      if (piece.arguments.empty()) continue;
      put(fmt::format(R"("tool_calls":[{{"index":{},"function":{{"arguments":{}}}}}])", count - 1,
                      json_quote(piece.arguments)));
    }
    if (out.empty() && logprobs != "null") put("");
    return out;
  }
  std::string end_choice(const AnswerPart& last, const ChoiceEnd& end) override {
    std::string out = add(last, {});
    return out + chunk(last.choice,
                       fmt::format(
                           R"("delta":{{}},"logprobs":null,"finish_reason":"{}","stop_reason":{})",
                           reason_text(end.reason), stop_reason_json(end).dump()));
  }

 private:
  std::vector<int64_t> call_counts_;  // begun so far, by choice
};

class CompletionStream final : public ChunkFormat {
 public:
  explicit CompletionStream(CompletionHead head)
      : ChunkFormat(head.head, "text_completion"), echo_(std::move(head)) {
    logprobs_.assign(static_cast<size_t>(head_.choice_count), CompletionLogprobs(head_));
  }

  std::string begin() override {
    std::string out;
    for (size_t i = 0; i < echo_.echoes.size(); ++i) {
      if (i < echo_.echoed_tokens.size()) logprobs_[i].add(echo_.echoed_tokens[i], true);
      out += text_chunk(static_cast<int64_t>(i), echo_.echoes[i], head_.logprobs, nullptr);
    }
    return out;
  }
  std::string add(const AnswerPart& part, const AnswerTotals& so_far) override {
    if (head_.logprobs) logprobs_[static_cast<size_t>(part.choice)].add(part.tokens);
    return text_chunk(part.choice, part.delta.content, head_.logprobs && !part.tokens.empty(),
                      &so_far);
  }
  std::string end_choice(const AnswerPart& last, const ChoiceEnd& end) override {
    std::string out;
    if (!last.delta.content.empty() || !last.tokens.empty()) out = add(last, {});
    return out +
           chunk(last.choice,
                 fmt::format(R"("text":"","logprobs":null,"finish_reason":"{}","stop_reason":{})",
                             reason_text(end.reason), stop_reason_json(end).dump()));
  }

 private:
  std::string text_chunk(int64_t choice, const std::string& text, bool logprobs,
                         const AnswerTotals* so_far) {
    return chunk(
        choice,
        fmt::format(R"("text":{},"logprobs":{},"finish_reason":null)", json_quote(text),
                    logprobs ? logprobs_[static_cast<size_t>(choice)].take().dump() : "null"),
        so_far);
  }

  CompletionHead echo_;
  std::vector<CompletionLogprobs> logprobs_;
};

// ---- Whole answers

class WholeFormat : public AnswerFormat {
 public:
  WholeFormat(AnswerHead head, const char* object)
      : head_(std::move(head)),
        object_(object),
        choices_(static_cast<size_t>(head_.choice_count)) {}
  bool streams() const override { return false; }
  std::string add(const AnswerPart& part, const AnswerTotals&) override {
    Choice& choice = choices_[static_cast<size_t>(part.choice)];
    choice.said += part.delta;
    choice.tokens.insert(choice.tokens.end(), part.tokens.begin(), part.tokens.end());
    return "";
  }
  std::string end_choice(const AnswerPart& last, const ChoiceEnd& end) override {
    add(last, {});
    choices_[static_cast<size_t>(last.choice)].end = end;
    return "";
  }
  std::string end(const AnswerTotals& totals) override {
    Json list = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i) {
      Json choice = Json::object();
      choice["index"] = static_cast<int64_t>(i);
      write_choice(choice, i);
      choice["finish_reason"] = reason_text(choices_[i].end.reason);
      choice["stop_reason"] = stop_reason_json(choices_[i].end);
      list.push_back(std::move(choice));
    }
    Json out = answer_json(head_, object_);
    out["choices"] = std::move(list);
    out["usage"] = usage_json(totals);
    out["timings"] = timings_json(totals);
    return out.dump();
  }
  std::string fail(const ApiError& error) override {
    return error.body(ApiStyle::kOpenAi, head_.id);
  }

 protected:
  struct Choice {
    OutputDelta said;
    std::vector<TokenRecord> tokens;
    ChoiceEnd end;
  };
  virtual void write_choice(Json& out, size_t i) const = 0;

  AnswerHead head_;
  const char* object_;
  std::vector<Choice> choices_;
};

class ChatWhole final : public WholeFormat {
 public:
  explicit ChatWhole(AnswerHead head) : WholeFormat(std::move(head), "chat.completion") {}

 private:
  void write_choice(Json& out, size_t i) const override {
    const Choice& choice = choices_[i];
    Json message = Json::object();
    message["role"] = "assistant";
    const bool calls_alone = choice.said.content.empty() && !choice.said.tool_calls.empty();
    message["content"] = calls_alone ? Json() : Json(choice.said.content);
    message["refusal"] = Json();
    if (!choice.said.reasoning.empty()) message[head_.reasoning_field] = choice.said.reasoning;
    if (!choice.said.tool_calls.empty()) {
      Json calls = Json::array();
      for (const ToolCall& call : choice.said.tool_calls) calls.push_back(call_json(call));
      message["tool_calls"] = std::move(calls);
    }
    out["message"] = std::move(message);
    out["logprobs"] = head_.logprobs ? chat_logprobs_json(head_, choice.tokens) : Json();
  }
};

class CompletionWhole final : public WholeFormat {
 public:
  explicit CompletionWhole(CompletionHead head)
      : WholeFormat(head.head, "text_completion"), echo_(std::move(head)) {}

 private:
  void write_choice(Json& out, size_t i) const override {
    const Choice& choice = choices_[i];
    out["text"] = (i < echo_.echoes.size() ? echo_.echoes[i] : "") + choice.said.content;
    out["logprobs"] = Json();
    if (!head_.logprobs) return;
    CompletionLogprobs logprobs(head_);
    if (i < echo_.echoed_tokens.size()) logprobs.add(echo_.echoed_tokens[i], true);
    logprobs.add(choice.tokens);
    out["logprobs"] = logprobs.take();
  }

  CompletionHead echo_;
};

}  // namespace

std::string sse_event(const std::string& data) { return "data: " + data + "\n\n"; }
std::string sse_event(const char* name, const std::string& data) {
  return fmt::format("event: {}\ndata: {}\n\n", name, data);
}

std::vector<CallPiece> pieces_of(const OutputDelta& delta) {
  std::vector<CallPiece> out = delta.call_pieces;
  for (const ToolCall& call : delta.tool_calls) out.push_back(whole_piece(call));
  return out;
}

Json logprobs_json(const AnswerHead& head, std::span<const TokenRecord> tokens) {
  Json out = Json::array();
  for (const TokenRecord& record : tokens) {
    Json item = chat_token_json(head, record.token, record.log_probability);
    Json top = Json::array();
    for (const TokenLogProbability& t : record.top)
      top.push_back(chat_token_json(head, t.token, t.log_probability));
    item["top_logprobs"] = std::move(top);
    out.push_back(std::move(item));
  }
  return out;
}

std::string fresh_id(const char* prefix) {
  thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return fmt::format("{}{:016x}{:08x}", prefix, random(), static_cast<uint32_t>(random()));
}

Json usage_json(const AnswerTotals& totals) {
  Json prompt = Json::object();
  prompt["cached_tokens"] = totals.cached_tokens;
  Json completion = Json::object();
  completion["reasoning_tokens"] = totals.reasoning_tokens;
  Json out = Json::object();
  out["prompt_tokens"] = totals.prompt_tokens;
  out["completion_tokens"] = totals.completion_tokens;
  out["total_tokens"] = totals.prompt_tokens + totals.completion_tokens;
  out["prompt_tokens_details"] = std::move(prompt);
  out["completion_tokens_details"] = std::move(completion);
  return out;
}

Json timings_json(const AnswerTotals& totals) {
  const auto rate = [](int64_t tokens, double ms) {
    return ms > 0 ? static_cast<double>(tokens) / ms * 1000 : 0.0;
  };
  const int64_t read = totals.prompt_tokens - totals.cached_tokens;
  Json out = Json::object();
  out["cache_n"] = totals.cached_tokens;
  out["prompt_n"] = read;
  out["prompt_ms"] = totals.prompt_ms;
  out["prompt_per_second"] = rate(read, totals.prompt_ms);
  out["predicted_n"] = totals.completion_tokens;
  out["predicted_ms"] = totals.predicted_ms;
  out["predicted_per_second"] = rate(totals.completion_tokens - 1, totals.predicted_ms);
  if (totals.drafted == 0) return out;
  out["draft_n"] = totals.drafted;
  out["draft_n_accepted"] = totals.accepted;
  return out;
}

std::unique_ptr<AnswerFormat> chat_stream_format(AnswerHead head) {
  return std::make_unique<ChatStream>(std::move(head));
}
std::unique_ptr<AnswerFormat> chat_whole_format(AnswerHead head) {
  return std::make_unique<ChatWhole>(std::move(head));
}
std::unique_ptr<AnswerFormat> completion_stream_format(CompletionHead head) {
  return std::make_unique<CompletionStream>(std::move(head));
}
std::unique_ptr<AnswerFormat> completion_whole_format(CompletionHead head) {
  return std::make_unique<CompletionWhole>(std::move(head));
}

}  // namespace dure

// Pieces of the chat format are encoded apart, marked as trained or not, and cut after the last
// trained token. A file's conversations are held in memory; those of tasks are made as they are
// read, but for the held-out grid.
#include "data/sft.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/python_text.h"
#include "data/corpus.h"
#include "data/tasks/dialogue.h"

namespace dure {
namespace {

// All the ways in which the last answer can be learnt: several only where it has no reasoning.
std::vector<TokenDocument> dialogue_documents(const Dialogue& dialogue,
                                              const TrainingFormat& format) {
  std::vector<Message> messages = question_messages(dialogue);
  const Problem& problem = dialogue.problem;
  for (Message& message : messages) message.trained = format.learns_earlier_answers();
  messages.push_back(
      {.role = Role::kAssistant, .content = problem.answer, .reasoning = problem.thinking});
  return format.documents(messages, {}, "a problem of the tasks");
}

class ProblemConversations : public DocumentSource {
 public:
  ProblemConversations(const TaskMixture& mixture, uint64_t seed, int64_t limit,
                       const TrainingFormat& format)
      : mixture_(mixture), seed_(seed), limit_(limit), format_(format) {}

  int64_t document_count() const override { return limit_ > 0 ? limit_ : kEndless; }

  void read(int64_t index, TokenDocument& out) const override {
    Rng rng(seed_, stream_id("sft problem", static_cast<uint64_t>(index)));
    Problem problem = make_problem(mixture_, Split::kTrain, rng);
    if (rng.uniform() < mixture_.hunch_share)
      problem.thinking = problem.answer;  // Not every demonstration works things out.
    const double share = mixture_.without_reasoning_share;
    const bool plain = share > 0 && rng.uniform() < share;
    if (plain) problem.thinking.clear();
    const int64_t turns = draw_turns(mixture_, rng);
    std::vector<TokenDocument> ways = dialogue_documents(
        make_dialogue(mixture_, std::move(problem), turns, Split::kTrain, rng), format_);
    const int64_t way = plain && ways.size() > 1 ? rng.below(std::ssize(ways)) : 0;
    out = std::move(ways[static_cast<size_t>(way)]);
  }

 private:
  TaskMixture mixture_;
  uint64_t seed_;
  int64_t limit_;
  TrainingFormat format_;
};

}  // namespace

TrainingFormat::TrainingFormat(Tokenizer tokenizer, ChatTemplate chat_template, StopRule ends,
                               WithoutReasoning without_reasoning)
    : tokenizer_(std::move(tokenizer)),
      template_(std::move(chat_template)),
      without_reasoning_(without_reasoning) {
  for (const int32_t id : ends.tokens) {
    if (const std::string text(tokenizer_.token_bytes(id)); !text.empty()) ends_.push_back(text);
  }
}

bool TrainingFormat::learns_earlier_answers() const {
  return template_.is_released() && without_reasoning_ != WithoutReasoning::kOn;
}

std::vector<TokenDocument> TrainingFormat::documents(const std::vector<Message>& messages,
                                                     const Json& tools,
                                                     const std::string& where) const {
  std::vector<TokenDocument> out;
  if (template_.is_released()) {
    const ChatOptions options{.format = template_.format(), .tools = tools};
    add_samples(messages, options, out);
    return out;
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role == Role::kAssistant && messages[i].trained)
      out.push_back(encode_pieces(turn(messages, i, tools, where), tokenizer_));
  }
  note_repeated_turns(std::ssize(out), where);
  return out;
}

void TrainingFormat::add_samples(const std::vector<Message>& messages, const ChatOptions& options,
                                 std::vector<TokenDocument>& out) const {
  const auto add = [&](const std::vector<Message>& chat, const ChatOptions& how) {
    for (const std::vector<ChatPiece>& sample : render_training_samples(chat, how))
      out.push_back(encode_pieces(sample, tokenizer_));
  };
  ChatOptions closing = options;
  closing.train_closing = true;
  if (without_reasoning_ == WithoutReasoning::kOn) return add(messages, closing);
  add(messages, options);
  if (without_reasoning_ == WithoutReasoning::kOff) return;
  // Again, for the turns without reasoning alone.
  std::vector<Message> plain = messages;
  bool any = false;
  for (Message& message : plain) {
    if (message.role != Role::kAssistant) continue;
    message.trained = message.trained && message.reasoning.empty();
    any = any || message.trained;
  }
  if (any) add(plain, closing);
}

// By a difference of renderings: what the template adds to the prompt of that turn.
std::vector<ChatPiece> TrainingFormat::turn(const std::vector<Message>& messages, size_t index,
                                            const Json& tools, const std::string& where) const {
  const auto end = messages.begin() + static_cast<std::ptrdiff_t>(index);
  const std::string whole =
      template_.render(std::vector<Message>(messages.begin(), end + 1), {.tools = tools});
  const std::vector<Message> before(messages.begin(), end);
  for (const bool thinking : {true, false}) {
    const std::string prompt = template_.render(
        before, {.add_generation_prompt = true, .enable_thinking = thinking, .tools = tools});
    if (!whole.starts_with(prompt)) continue;
    note_dropped_reasoning(messages[index], whole, fmt::format("{}: messages[{}]", where, index));
    std::string answer = whole.substr(prompt.size());
    const std::string rest = end_of(answer);
    return {{prompt, false}, {answer, true}, {rest, false}};
  }
  fail(ErrorCode::kInvalidArgument,
       "{}: messages[{}]: the chat template {} writes this turn otherwise than after its own "
       "generation prompt: it cannot be trained on as it would be asked for",
       where, index, template_.source());
}

// Cuts `answer` behind its last end token and returns what follows; appends one where it has none.
std::string TrainingFormat::end_of(std::string& answer) const {
  size_t end = std::string::npos;
  for (const std::string& text : ends_) {
    const size_t at = answer.rfind(text);
    if (at == std::string::npos) continue;
    const size_t behind = at + text.size();
    end = end == std::string::npos ? behind : std::max(end, behind);
  }
  if (end != std::string::npos) {
    std::string rest = answer.substr(end);
    answer.resize(end);
    return rest;
  }
  std::call_once(said_->no_end, [&] {
    log_warn("{}: the template writes none of the model's end tokens after an answer; {}",
             template_.source(),
             ends_.empty() ? "the model names none, and will not learn to stop"
                           : "one is appended to each trained answer");
  });
  if (!ends_.empty()) {
    const auto eos = tokenizer_.eos_id();
    answer += eos ? std::string(tokenizer_.token_bytes(*eos)) : ends_.front();
  }
  return "";
}

void TrainingFormat::note_dropped_reasoning(const Message& message, const std::string& rendered,
                                            const std::string& turn) const {
  const std::string_view reasoning = python_strip(message.reasoning);
  if (reasoning.empty() || rendered.find(reasoning) != std::string::npos) return;
  std::call_once(said_->dropped_reasoning, [&] {
    log_warn(
        "{}: the chat template {} leaves reasoning_content out: answers are trained without theirs",
        turn, template_.source());
  });
}

void TrainingFormat::note_repeated_turns(int64_t sample_count, const std::string& where) const {
  if (sample_count < 2) return;
  std::call_once(said_->repeated_turns, [&] {
    log_info(
        "{}: the chat template {} is the model's own: each answer is a sample that repeats the "
        "turns before it, {} in this conversation; long ones cost the square of their turns",
        where, template_.source(), sample_count);
  });
}

TokenDocument encode_pieces(const std::vector<ChatPiece>& pieces, const Tokenizer& tokenizer) {
  TokenDocument document;
  for (const ChatPiece& piece : pieces) {
    // A conversation is rendered whole: nothing is put around it or its pieces.
    tokenizer.encode_to(piece.text, {.add_special_tokens = false}, document.ids);
    document.trained.resize(document.ids.size(), piece.trained ? 1 : 0);
  }
  // What follows the last trained token (the newline after a turn) would only cost time.
  while (!document.trained.empty() && document.trained.back() == 0) {
    document.ids.pop_back();
    document.trained.pop_back();
  }
  return document;
}

std::shared_ptr<const DocumentSource> load_conversations(const Path& jsonl,
                                                         const TrainingFormat& format) {
  std::vector<TokenDocument> documents;
  std::vector<int64_t> conversations;
  int64_t number = 0;
  for_each_record(jsonl, [&](const Record& record) {
    const std::string where = fmt::format("{}:{}{}", jsonl.string(), ++number,
                                          record.source.empty() ? "" : " (" + record.source + ")");
    if (!record.is_chat())
      fail(ErrorCode::kCorrupt, "{}: no conversation: \"messages\" is needed for fine-tuning",
           where);
    const std::vector<Message> messages =
        messages_from_json(parse_json(record.messages, where), where);
    const Json tools = record.tools.empty() ? Json() : parse_json(record.tools, where);
    for (TokenDocument& document : format.documents(messages, tools, where)) {
      if (document.ids.empty()) continue;  // Weight 0 alone.
      documents.push_back(std::move(document));
      conversations.push_back(number);
    }
  });
  if (documents.empty()) fail(ErrorCode::kCorrupt, "{}: holds no conversation", jsonl.string());
  return std::make_shared<MemoryDocuments>(std::move(documents), std::move(conversations));
}

std::shared_ptr<const DocumentSource> problem_conversations(const TaskMixture& mixture,
                                                            uint64_t seed, int64_t limit,
                                                            const TrainingFormat& format) {
  return std::make_shared<ProblemConversations>(mixture, seed, limit, format);
}

std::shared_ptr<const DocumentSource> heldout_problem_conversations(const TaskMixture& mixture,
                                                                    uint64_t seed,
                                                                    int64_t count_per_cell,
                                                                    const TrainingFormat& format) {
  std::vector<TokenDocument> documents;
  for (const Problem& problem : make_problem_grid(mixture, Split::kHeldout, seed, count_per_cell))
    documents.push_back(dialogue_documents({.earlier = {}, .problem = problem}, format)[0]);
  return std::make_shared<MemoryDocuments>(std::move(documents));
}

}  // namespace dure

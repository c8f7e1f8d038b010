// Rows go the way that they go in training; counts by message come from learning one message at a
// time.
#include "data/loss_view.h"

#include "base/error.h"
#include "data/chat_record.h"
#include "data/preference_record.h"
#include "data/record_fields.h"
#include "data/text_extract.h"
#include "data/tokenise.h"

namespace dure {
namespace {

// A label of something else may stand beside messages.
bool is_preference(const Json& row) {
  for (const char* key : {"chosen", "rejected", "responses", "rewards", "preferred_output"})
    if (present(row, key)) return true;
  return present(row, "label") && present(row, "completion") && !present(row, "messages");
}

LossSample sample_of(const TokenDocument& document, const Tokenizer& tokenizer, std::string title) {
  LossSample out{.title = std::move(title), .segments = {}};
  for (size_t begin = 0; begin < document.ids.size();) {
    const bool learnt = document.is_trained(begin);
    size_t end = begin + 1;
    while (end < document.ids.size() && document.is_trained(end) == learnt) ++end;
    const auto ids = std::span(document.ids).subspan(begin, end - begin);
    out.segments.push_back({.text = tokenizer.decode(ids),
                            .tokens = static_cast<int64_t>(end - begin),
                            .learnt = learnt});
    begin = end;
  }
  return out;
}

int64_t learnt_in(const TokenDocument& document) {
  int64_t count = 0;
  for (size_t i = 0; i < document.ids.size(); ++i) count += document.is_trained(i) ? 1 : 0;
  return count;
}

// Its share of the conversation's samples: those of a conversation in which it alone is learnt.
LossMessage message_view(const std::vector<Message>& messages, size_t index, const Json& tools,
                         const std::string& where, const TrainingFormat& format) {
  const Message& message = messages[index];
  LossMessage out{.role = role_name(message.role)};
  if (message.role != Role::kAssistant) return out;
  out.masked = !message.trained;
  if (out.masked) return out;
  std::vector<Message> alone = messages;
  for (size_t i = 0; i < alone.size(); ++i) alone[i].trained = i == index;
  for (const TokenDocument& document : format.documents(alone, tools, where)) {
    const int64_t learnt = learnt_in(document);
    out.learnt += learnt;
    out.samples += learnt > 0 ? 1 : 0;
  }
  return out;
}

LossView conversation_view(const ChatRecord& chat, const std::string& where,
                           const TrainingFormat& format) {
  LossView out;
  const std::vector<Message> messages = messages_from_json(chat.messages, where);
  for (size_t i = 0; i < messages.size(); ++i)
    out.messages.push_back(message_view(messages, i, chat.tools, where, format));
  std::vector<TokenDocument> documents = format.documents(messages, chat.tools, where);
  std::erase_if(documents, [](const TokenDocument& d) { return d.ids.empty(); });
  for (size_t i = 0; i < documents.size(); ++i)
    out.samples.push_back(sample_of(documents[i], format.tokenizer(),
                                    fmt::format("sample {} of {}", i + 1, documents.size())));
  return out;
}

// Of a document all tokens are learnt but the first, which nothing stands before.
LossView text_view(const std::string& text, const Tokenizer& tokenizer) {
  EncodeScratch scratch;
  TokenDocument document;
  encode_document(tidy_text(text), tokenizer, scratch, document.ids);
  document.trained.assign(document.ids.size(), 1);
  if (!document.trained.empty()) document.trained[0] = 0;
  LossView out{.form = "a text", .messages = {}, .samples = {}};
  out.samples.push_back(sample_of(document, tokenizer, "document"));
  return out;
}

std::string response_title(const PreferenceRecord& record, size_t index) {
  if (record.form == PreferenceForm::kPair) return index == 0 ? "chosen" : "rejected";
  if (record.form == PreferenceForm::kLabel)
    return record.rewards[index] > 0 ? "completion, label true" : "completion, label false";
  return fmt::format("responses[{}], reward {}", index, record.rewards[index]);
}

LossView preference_view(const Json& row, const std::string& where, const TrainingFormat& format) {
  const PreferenceRecord record = read_preference_record(row, where);
  LossView out{.form = record.form == PreferenceForm::kPair    ? "a preference pair"
                       : record.form == PreferenceForm::kGroup ? "a group of responses"
                                                               : "a labelled response",
               .messages = {},
               .samples = {}};
  for (size_t i = 0; i < record.responses.size(); ++i) {
    const Json conversation = conversation_of(record.prompt, record.responses[i]);
    for (const TokenDocument& document :
         format.documents(messages_from_json(conversation, where), record.tools, where)) {
      if (learnt_in(document) > 0)
        out.samples.push_back(sample_of(document, format.tokenizer(), response_title(record, i)));
    }
  }
  return out;
}

template <typename List>
int64_t sum_of(const List& list, int64_t (LossSample::*count)() const) {
  int64_t sum = 0;
  for (const LossSample& sample : list) sum += (sample.*count)();
  return sum;
}

}  // namespace

int64_t LossSample::tokens() const {
  int64_t sum = 0;
  for (const LossSegment& segment : segments) sum += segment.tokens;
  return sum;
}

int64_t LossSample::learnt() const {
  int64_t sum = 0;
  for (const LossSegment& segment : segments) sum += segment.learnt ? segment.tokens : 0;
  return sum;
}

int64_t LossView::tokens() const { return sum_of(samples, &LossSample::tokens); }
int64_t LossView::learnt() const { return sum_of(samples, &LossSample::learnt); }

LossView view_loss(const Json& row, const std::string& where, const LossFormats& formats,
                   RecordForm wanted) {
  if (!row.is_object()) fail(ErrorCode::kInvalidArgument, "not an object");
  if (is_preference(row)) return preference_view(row, where, formats.preferences);
  ChatNotes notes;
  const std::optional<ChatRecord> chat = read_chat_record(row, where, notes, wanted);
  if (!chat) return text_view(row.at("text").as_string("text"), formats.conversations.tokenizer());
  LossView out = conversation_view(*chat, where, formats.conversations);
  out.form = described(notes.forms.begin()->first);
  return out;
}

}  // namespace dure

// data/chat_form.h: the forms in which files write conversations, told apart by their fields and
// rewritten as lists of OpenAI's messages.
//
// messages (OpenAI, its fine-tuning files too), sharegpt (`conversations` of from and value),
// alpaca (instruction, input, output, history), prompt_completion; text is no conversation. A
// record in which several of them stand is ambiguous and refused, but for `text` or anything else
// beside `messages`: those are common leftovers, and messages count. Not here: whether what the
// messages say can be trained on (chat_record.h), files (jsonl.h).
#pragma once

#include <array>
#include <cstdint>

#include "base/json.h"
#include "base/options.h"

namespace dure {

// kAuto: whichever the fields of the record show.
enum class RecordForm : uint8_t { kAuto, kText, kMessages, kShareGpt, kAlpaca, kPromptCompletion };
constexpr auto enum_names(RecordForm) {
  return std::to_array<EnumName<RecordForm>>(
      {{RecordForm::kAuto, "auto"},
       {RecordForm::kText, "text"},
       {RecordForm::kMessages, "messages"},
       {RecordForm::kShareGpt, "sharegpt"},
       {RecordForm::kAlpaca, "alpaca"},
       {RecordForm::kPromptCompletion, "prompt_completion"}});
}

// As a person calls it: "ShareGPT conversations".
const char* described(RecordForm form);

// Which form `record` has; `wanted` where its fields are there, whatever else is. Throws
// kInvalidArgument: several forms in one record, none, or not the one that is wanted.
RecordForm form_of(const Json& record, RecordForm wanted = RecordForm::kAuto);

// The list of messages of a record of this form, a `system` text of the record first; what is no
// conversation's in it stays for the judge. Checked: form is neither kAuto nor kText. Throws
// kInvalidArgument naming the field.
Json messages_in(const Json& record, RecordForm form);

}  // namespace dure

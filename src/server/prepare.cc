// Renders, encodes, measures; choices of one prompt differ in their random stream alone.
#include "server/prepare.h"

#include <ctime>
#include <set>

#include "chat/thinking_budget.h"
#include "server/answer_fields.h"
#include "server/completion_request.h"
#include "server/messages_api.h"
#include "server/openai_answer.h"
#include "server/prefix_salt.h"
#include "server/responses_api.h"

namespace dure {
namespace {

GenerationRequest make_request(std::vector<int32_t> prompt, const GenerationFields& fields,
                               int64_t new_tokens_max, const ServedModel& model, int64_t index,
                               std::shared_ptr<TokenMask> mask) {
  return {.prompt = std::move(prompt),
          .sampling = fields.sampling,
          .new_tokens_max = new_tokens_max,
          .new_tokens_min = fields.stops.tokens_min,
          .stop_tokens = fields.stops.stop_tokens(model.texts.stops),
          .top_count = fields.logprobs ? fields.top_logprobs : 0,
          .mask = std::move(mask),
          .stream = static_cast<uint64_t>(index),
          .prefix_salt = prefix_salt("", fields.cache_salt),
          .adapter = fields.adapter != nullptr ? fields.adapter->adapter : nullptr};
}

Conversation conversation_of(const ChatRequest& request, const ServedModel& model) {
  ConversationOptions options = request.conversation;
  // What is written in a form that was asked for is no call, whatever it looks like.
  const std::optional<AnswerForm>& form = request.generation.form;
  options.read_calls = !options.tools.is_null() && (!form || form->kind == AnswerKind::kToolCalls);
  options.call_pieces = request.generation.stream;
  Conversation out(model.texts, std::move(options));
  for (const Message& message : request.messages) out.add(message);
  return out;
}

std::string rendered(const Conversation& conversation) {
  try {
    return conversation.render();
  } catch (const Error& error) {  // What a template raises is about the messages.
    throw bad_field("messages", error.what());
  }
}

// Each choice's text before it, and that text's tokens where they are scored.
void add_echoes(const CompletionRequest& request, const ServedModel& model, CompletionHead& out) {
  for (const std::vector<int32_t>& prompt : request.prompts) {
    const std::string text = model.texts.require_tokenizer().decode(prompt);
    for (int64_t i = 0; i < request.generation.choice_count; ++i) out.echoes.push_back(text);
  }
  if (!request.generation.logprobs) return;
  if (!model.score_prompts) {
    throw unsupported("echo", "echo with logprobs: this server does not score prompts");
  }
  const ServedAdapter* const adapter = request.generation.adapter;
  for (auto& scores : model.score_prompts(request.prompts, request.generation.top_logprobs,
                                          adapter != nullptr ? adapter->adapter.get() : nullptr)) {
    std::vector<TokenRecord> records;
    for (PromptScore& score : scores)
      records.push_back({score.token, score.log_probability, std::move(score.top)});
    for (int64_t i = 0; i < request.generation.choice_count; ++i)
      out.echoed_tokens.push_back(records);
  }
}

}  // namespace

AnswerHead make_head(const GenerationFields& fields, const ServedModel& model,
                     const char* id_prefix) {
  return {.id = fresh_id(id_prefix),
          .created_s = static_cast<int64_t>(std::time(nullptr)),
          .model = fields.adapter != nullptr ? fields.adapter->name : model.name(),
          .choice_count = fields.choice_count,
          .reasoning_field = model.reasoning_field,
          .include_usage = fields.include_usage,
          .continuous_usage = fields.continuous_usage,
          .logprobs = fields.logprobs,
          .top_logprobs = fields.top_logprobs,
          .tokenizer = &model.texts.require_tokenizer()};
}

std::string render_prompt(const ChatRequest& request, const ServedModel& model) {
  return rendered(conversation_of(request, model));
}

ChatChoices make_chat_choices(const ChatRequest& request, const ServedModel& model,
                              const std::string& request_id) {
  const Conversation conversation = conversation_of(request, model);
  const std::string text = rendered(conversation);
  const std::vector<int32_t> prompt = conversation.encode(text);
  ChatChoices out{.prompt_tokens = std::ssize(prompt)};
  const int64_t room = answer_room(request.generation, out.prompt_tokens, model);
  const bool reasons = conversation.answer_to(text).in_reasoning();
  std::set<std::string> not_held;
  for (int64_t i = 0; i < request.generation.choice_count; ++i) {
    // Reasoning that is not told apart is content as the model wrote it.
    AnswerStream stream =
        request.reasoning_in_content
            ? AnswerStream(model.texts, {.format = model.texts.chat_template.format(),
                                         .thinking = false,
                                         .calls = conversation.options().read_calls,
                                         .call_pieces = conversation.options().call_pieces,
                                         .continues = conversation.options().continue_last,
                                         .tools = conversation.options().tools})
            : conversation.answer_to(text);
    stream.stop_at(request.generation.stops);
    std::shared_ptr<TokenMask> mask = make_mask(request.generation, model, reasons, not_held);
    if (reasons && request.generation.thinking_tokens) {
      mask = std::make_shared<ThinkingBudget>(model.texts.require_tokenizer(), model.vocab_size,
                                              *request.generation.thinking_tokens, std::move(mask));
    }
    out.choices.push_back(
        {.request = make_request(prompt, request.generation, room, model, i, std::move(mask)),
         .stream = std::move(stream)});
  }
  warn_of_not_held(not_held, request_id);
  return out;
}

AnsweringOptions prepare_chat(const Json& body, const ServedModel& model,
                              const std::string& request_id) {
  const ChatRequest request = read_chat_request(body, model);
  warn_of_unknown(request.unknown, request_id);
  ChatChoices choices = make_chat_choices(request, model, request_id);
  AnswerHead head = make_head(request.generation, model, "chatcmpl-");
  return {.choices = std::move(choices.choices),
          .format = request.generation.stream ? chat_stream_format(std::move(head))
                                              : chat_whole_format(std::move(head)),
          .prompt_tokens = choices.prompt_tokens,
          .include_reasoning = request.include_reasoning,
          .first_call_only = request.first_call_only,
          .named_tool = request.generation.form && !request.generation.form->tool_name.empty()};
}

AnsweringOptions prepare_messages(const Json& body, const ServedModel& model,
                                  const std::string& request_id) {
  const ChatRequest request = read_messages_request(body, model);
  warn_of_unknown(request.unknown, request_id);
  ChatChoices choices = make_chat_choices(request, model, request_id);
  AnswerHead head = make_head(request.generation, model, "msg_");
  return {.choices = std::move(choices.choices),
          .format = request.generation.stream
                        ? messages_stream_format(std::move(head), choices.prompt_tokens)
                        : messages_whole_format(std::move(head)),
          .prompt_tokens = choices.prompt_tokens,
          .include_reasoning = request.include_reasoning,
          .first_call_only = request.first_call_only};
}

AnsweringOptions prepare_responses(const Json& body, const ServedModel& model,
                                   const std::string& request_id) {
  const ChatRequest request = read_responses_request(body, model);
  warn_of_unknown(request.unknown, request_id);
  ChatChoices choices = make_chat_choices(request, model, request_id);
  AnswerHead head = make_head(request.generation, model, "resp_");
  const SamplingOptions& sampling = request.generation.sampling;
  return {.choices = std::move(choices.choices),
          .format = request.generation.stream
                        ? responses_stream_format(std::move(head), body, sampling)
                        : responses_whole_format(std::move(head), body, sampling),
          .prompt_tokens = choices.prompt_tokens,
          .include_reasoning = request.include_reasoning,
          .first_call_only = request.first_call_only};
}

AnsweringOptions prepare_completion(const Json& body, const ServedModel& model,
                                    const std::string& request_id) {
  CompletionRequest request = read_completion_request(body, model);
  warn_of_unknown(request.unknown, request_id);
  const GenerationFields& fields = request.generation;
  AnsweringOptions out;
  CompletionHead head{.head = make_head(fields, model, "cmpl-")};
  head.head.choice_count = fields.choice_count * std::ssize(request.prompts);
  std::vector<int64_t> rooms;
  for (const std::vector<int32_t>& prompt : request.prompts) {
    out.prompt_tokens += std::ssize(prompt);
    if (fields.tokens_max > 0) rooms.push_back(answer_room(fields, std::ssize(prompt), model));
    if (std::ssize(prompt) > model.context_tokens)
      throw too_long(std::ssize(prompt), model.context_tokens, fields.prompt_name);
  }
  if (request.echo) add_echoes(request, model, head);
  if (rooms.empty()) out.silent_choices = head.head.choice_count;
  std::set<std::string> not_held;
  for (size_t p = 0; p < rooms.size(); ++p) {
    for (int64_t i = 0; i < fields.choice_count; ++i) {
      AnswerStream stream = AnswerStream::plain(model.texts);
      stream.stop_at(fields.stops);
      out.choices.push_back({.request = make_request(request.prompts[p], fields, rooms[p], model, i,
                                                     make_mask(fields, model, false, not_held)),
                             .stream = std::move(stream)});
    }
  }
  warn_of_not_held(not_held, request_id);
  out.format = fields.stream ? completion_stream_format(std::move(head))
                             : completion_whole_format(std::move(head));
  return out;
}

}  // namespace dure

#include "eval/grader.h"

#include "text/output_parser.h"

namespace dure {

Verdict judge(const Problem& problem, const Generation& generation, const Tokenizer& tokenizer,
              ChatFormat format) {
  std::span<const int32_t> said = generation.tokens;
  const bool finished = generation.finish == FinishReason::kStop;
  if (finished) said = said.first(said.size() - 1);  // The stop token is no part of the text.
  const OutputDelta parts =
      parse_output(tokenizer.decode(said), {.format = format, .thinking = true, .tools = {}});
  return {parts.reasoning, parts.content,
          finished && parts.tool_calls.empty() && verify(problem, parts.content)};
}

std::vector<int32_t> problem_prompt(const Problem& problem, const Tokenizer& tokenizer,
                                    const ChatTemplate& chat) {
  const std::vector<Message> messages = {{.role = Role::kUser, .content = problem.prompt}};
  ChatOptions options;
  options.format = chat.format();
  options.add_generation_prompt = true;
  return tokenizer.encode(chat.render(messages, options));
}

}  // namespace dure

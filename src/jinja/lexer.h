// jinja/lexer.h: template text into tokens, with Jinja's white-space control as transformers
// sets it: trim_blocks, lstrip_blocks, one newline at the end dropped, "-" and "+" signs, comments,
// raw blocks.
//
// Not here: what the tokens mean (expression_parser.h, parser.cc).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jinja/value.h"

namespace dure::jinja {

enum class Token : uint8_t {
  kData,  // Text outside tags.
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,  // `text` says which.
  kEnd,
};

struct LexedToken {
  Token token = Token::kEnd;
  int line = 1;
  std::string text;  // Data, name, operator, or the string's value.
  Value number;      // kInteger, kFloat.
};

// Throws TemplateError with the line. The last token is kEnd.
std::vector<LexedToken> tokenize(std::string_view source);

std::string describe(const LexedToken& token);  // For messages: "'end of block'", "'+'".

}  // namespace dure::jinja

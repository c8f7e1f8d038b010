// Requests that ask for a form of the answer (JSON Schemas, patterns, choices, tools): an Error, or
// a grammar that can be walked from its start to some end within its limits.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "grammar/answer_request.h"
#include "grammar/walk.h"

using namespace dure;

namespace {

// Takes a byte that may come, again and again: every place must have one, or be an end.
void walk(const Grammar& grammar, uint32_t draw) {
  StackArena stacks;
  Walker walker(grammar, stacks);
  Places at = walker.start(), next;
  for (int i = 0; i < 100; ++i) {
    bool moved = false;
    for (uint32_t k = 0; k < 256 && !moved; ++k) {
      walker.step(at, static_cast<uint8_t>(draw + k), next);
      moved = !next.dead();
    }
    DURE_CHECK(moved || at.complete, "a place without a way on");
    if (!moved) return;
    std::swap(at, next);
    draw = draw * 1664525 + 1013904223;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto form =
        answer_form_of(parse_json({reinterpret_cast<const char*>(data), size}, "fuzz"));
    if (!form) return 0;
    const AnswerGrammar made = answer_grammar(*form);
    for (uint32_t i = 0; i < 4; ++i) walk(made.grammar, i * 77 + 34);
  } catch (const Error&) {
  }
  return 0;
}

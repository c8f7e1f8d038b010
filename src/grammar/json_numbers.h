// grammar/json_numbers.h: JSON numbers within bounds, as automata over their digits.
//
// Bounded numbers are written without an exponent, so that digits can be compared with the bound's
// one by one. Not here: which keywords give the bounds (schema_facts.h).
#pragma once

#include <optional>
#include <string>

#include "grammar/byte_automaton.h"

namespace dure {

// A decimal as digits: (-1)^negative x whole.fraction, no exponent, no superfluous zeros.
struct Decimal {
  bool negative = false;
  std::string whole = "0", fraction;
  bool is_zero() const { return whole == "0" && fraction.empty(); }
};
// `text` is a JSON number. Throws kUnsupported where the exponent asks for more than 400 digits.
Decimal decimal_of(const std::string& text);
// -1, 0, 1.
int compare(const Decimal& a, const Decimal& b);

struct NumberBound {
  Decimal value;
  bool exclusive = false;
};

struct NumberFacts {
  bool integer = false;
  std::optional<NumberBound> low, high;
  std::optional<Decimal> multiple_of;  // above 0
};

// Throws kUnsupported where the divisor's digits, as a whole number, are above 100,000.
ByteDfa number_dfa(const NumberFacts& facts);

}  // namespace dure

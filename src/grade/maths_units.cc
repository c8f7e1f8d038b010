// Signs go wherever they stand, words only from the end and behind a quantity.
#include "grade/maths_units.h"

#include <algorithm>
#include <cctype>

namespace dure {
namespace {

using Kind = MathsTokenKind;

// ---------------------------------------------------------------------------------------

bool is_sign(const MathsToken& token, std::string_view text) {
  return token.kind == Kind::kSign && token.text == text;
}

std::string lower(std::string_view text) {
  std::string out;
  for (const char c : text) out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// Words that say something rather than count something.
bool is_statement(std::string_view word) {
  for (const char* other : {"is", "if", "for", "are", "where", "when", "with", "prime", "odd",
                            "even", "all", "otherwise", "such", "not", "no", "only", "mod"})
    if (word == other) return true;
  return false;
}

class UnitTaker {
 public:
  explicit UnitTaker(std::vector<MathsToken>& tokens) : tokens_(tokens) {}

  MathsUnits take() {
    take_signs();
    while (take_word()) {
    }
    for (const MathsToken& token : tokens_)
      if (token.kind == Kind::kWord) throw MathsGivenUp{"there are words in it"};
    units_.unit = normal(unit_);
    return units_;
  }

 private:
  // Degrees, wherever they stand, with their "^"; currencies; a per cent sign at the end.
  void take_signs() {
    std::vector<MathsToken> kept;
    const bool angles = std::any_of(tokens_.begin(), tokens_.end(), [](const MathsToken& token) {
      return token.kind == Kind::kFunction;
    });
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const size_t degree = degree_length(i);
      if (degree > 0) {
        if (angles) kept.push_back({Kind::kName, kMathsDegree});
        units_.degrees = !angles;
        i += degree - 1;
      } else if (is_sign(tokens_[i], "currency")) {
        unit_ = "dollar";
      } else if (is_sign(tokens_[i], "%")) {
        if (i + 2 < tokens_.size() && tokens_[i + 1].kind != Kind::kWord)
          throw MathsGivenUp{"a per cent sign is not at the end"};
        units_.percent = true;
      } else {
        kept.push_back(std::move(tokens_[i]));
      }
    }
    tokens_ = std::move(kept);
  }

  size_t degree_length(size_t i) const {
    const auto at = [&](size_t k, std::string_view text) {
      return i + k < tokens_.size() && is_sign(tokens_[i + k], text);
    };
    if (at(0, "degree")) return 1;
    if (at(0, "^") && at(1, "degree")) return 2;
    if (at(0, "^") && at(1, "{") && at(2, "degree") && at(3, "}")) return 4;
    return 0;
  }

  // The last word, with a power such as ^2, where a quantity stands in front of it.
  bool take_word() {
    size_t end = tokens_.size() - 1;  // of kEnd
    std::string power;
    if (end >= 4 && is_sign(tokens_[end - 1], "}") && tokens_[end - 2].kind == Kind::kNumber &&
        is_sign(tokens_[end - 3], "{") && is_sign(tokens_[end - 4], "^")) {
      power = "^" + tokens_[end - 2].text;
      end -= 4;
    } else if (end >= 2 && tokens_[end - 1].kind == Kind::kNumber &&
               is_sign(tokens_[end - 2], "^")) {
      power = "^" + tokens_[end - 1].text;
      end -= 2;
    }
    if (end < 2 || tokens_[end - 1].kind != Kind::kWord || !is_quantity_before(end - 1))
      return false;
    const std::string word = lower(tokens_[end - 1].text);
    if (is_statement(word)) return false;
    tokens_.erase(tokens_.begin() + static_cast<std::ptrdiff_t>(end - 1), tokens_.end() - 1);
    if (word == "degrees" || word == "degree") {
      units_.degrees = true;
    } else if (word == "percent") {
      units_.percent = true;
    } else {
      unit_ = word + power + (unit_.empty() ? "" : " " + unit_);
    }
    return true;
  }

  // A number or a closing bracket, perhaps with further words between.
  bool is_quantity_before(size_t i) const {
    while (i > 0 && tokens_[i - 1].kind == Kind::kWord) --i;
    if (i == 0) return false;
    const MathsToken& token = tokens_[i - 1];
    return token.kind == Kind::kNumber || is_sign(token, ")") || is_sign(token, "}") ||
           (token.kind == Kind::kName && token.text == "pi");
  }

  // "square inches" and "inches^2" are "inch^2".
  static std::string normal(std::string unit) {
    int power = 1;
    for (const auto& [word, n] : {std::pair{"square ", 2}, {"sq ", 2}, {"cubic ", 3}, {"cu ", 3}}) {
      if (!unit.starts_with(word)) continue;
      unit.erase(0, std::string_view(word).size());
      power = n;
    }
    std::string tail;
    if (const size_t hat = unit.find('^'); hat != std::string::npos) {
      tail = unit.substr(hat);
      unit.resize(hat);
    }
    if (unit.size() > 3 && unit.ends_with("ches")) {
      unit.resize(unit.size() - 2);
    } else if (unit.size() > 2 && unit.ends_with('s')) {
      unit.pop_back();
    }
    return unit + (power > 1 ? "^" + std::to_string(power) : tail);
  }

  std::vector<MathsToken>& tokens_;
  MathsUnits units_;
  std::string unit_;
};

}  // namespace

std::string_view without_compound_unit(std::string_view text, std::string& unit) {
  for (const std::string_view known : {"m/s^2", "m/s", "km/h", "km/hr", "mi/h", "mi/hr", "ft/s",
                                       "cm/s", "g/cm^3", "kg/m^3", "km/s"}) {
    if (!text.ends_with(known)) continue;
    std::string_view rest = text.substr(0, text.size() - known.size());
    while (rest.ends_with(' ')) rest.remove_suffix(1);
    if (rest.empty() || rest.back() < '0' || rest.back() > '9') continue;
    unit = known;
    return rest;
  }
  return text;
}

MathsUnits take_maths_units(std::vector<MathsToken>& tokens) { return UnitTaker(tokens).take(); }

}  // namespace dure

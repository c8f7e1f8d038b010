// Endings first; a base form counts by the word behind it, as it does for the tagger.
#include "grade/instructions/verbs.h"

#include <unordered_set>

namespace dure::instructions {
namespace {

using Set = std::unordered_set<CharsView>;

Set set_of(CharsView words) {
  const std::vector<CharsView> list = split(words);
  return {list.begin(), list.end()};
}

// Base forms that are taken for verbs before an article, a pronoun or "that".
const Set& base_verbs() {
  static const Set verbs = set_of(
      U"thank rewrite does has accept add adopt advise allow apply arrange ask assist assume "
      U"attempt attend avoid be "
      U"become begin boost borrow bring build buy call catch change charge check choose clarify "
      U"collect come compose conduct connect consider continue contribute create decide deliver "
      U"determine develop devise do draw drink eliminate emphasize encourage engage enjoy ensure "
      U"enter establish evaluate examine expect explain extend extract fall feed feel fetch find "
      U"finish fly forget get give go grab grow have hear help hold identify initialize keep "
      U"launch lead learn leave lend let lift link listen live look lose love maintain make "
      U"maximize measure merge minimize modify move need note observe optimize organize preserve "
      U"prioritize proceed promote protect prove provide publish put raise read realize recall "
      U"receive recognize recommend refer refine reflect refuse reimagine remain remove rename "
      U"repeat replace require resolve respect return revise rise save secure see seek select "
      U"sell send serve shift simplify sing sleep solve specify spend stay stop stretch "
      U"substitute summarize suppose sustain switch take talk taste teach tell think throw track "
      U"train transfer translate travel treat try turn type utilize verify visualize wait wake "
      U"walk want watch wear weave welcome wish wonder work write yield");
  return verbs;
}

// Those that are before a preposition or "how" too.
const Set& plain_verbs() {
  static const Set verbs = set_of(
      U"accept assume attend avoid be begin buy call catch change choose clarify come consider "
      U"continue develop do eliminate emphasize encourage establish expect explain extend feel "
      U"find get give go grow have hold identify keep leave lend let look lose love make "
      U"maximize minimize modify move need note optimize organize prioritize publish put raise "
      U"read realize recall recognize recommend remove resolve revise rise see seek send serve "
      U"simplify sing solve specify spend stop summarize suppose take think throw treat try turn "
      U"utilize verify visualize wait walk want watch wear wish write");
  return verbs;
}

bool is_article_or_like(CharsView word) {
  static const Set words = set_of(
      U"the a an this these those its their my our your each all any some every his her it you me "
      U"them us him that");
  return words.contains(word);
}

bool is_preposition_or_how(CharsView word) {
  static const Set words =
      set_of(U"in at to for with by on into about from of how what why whether");
  return words.contains(word);
}

bool is_other_form(CharsView word) {
  static const Set words = set_of(
      U"is are had do have let lost given known made found got born built thought felt said");
  return words.contains(word);
}

bool has_verb_ending(CharsView word) {
  static const Set others = set_of(
      U"during nothing something anything everything morning evening ceiling wedding spring string "
      U"thing bring swing sting cling "
      U"sibling indeed hundred sacred naked wicked speed breed");
  if (others.contains(word)) return false;
  return (word.size() > 4 && word.ends_with(U"ing")) || (word.size() > 4 && word.ends_with(U"ed"));
}

}  // namespace

bool is_opening_verb(const std::vector<Chars>& words) {
  const Chars word = lower(words[0]);
  if (has_verb_ending(word) || is_other_form(word)) return true;
  const Chars next = words.size() > 1 ? lower(words[1]) : Chars();
  if (is_article_or_like(next)) return base_verbs().contains(word);
  return is_preposition_or_how(next) && plain_verbs().contains(word);
}

}  // namespace dure::instructions

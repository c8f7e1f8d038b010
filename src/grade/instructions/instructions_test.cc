// Each kind on answers of our own, corners where the published checkers surprise, and any bytes on
// all of them in bounded time.
#include <gtest/gtest.h>

#include <chrono>

#include "base/error.h"
#include "base/rng.h"
#include "grade/instructions/english.h"
#include "grade/instructions/instruction.h"
#include "grade/instructions/instruction_grader.h"
#include "grade/instructions/japanese.h"
#include "grade/instructions/json_text.h"
#include "grade/instructions/pattern.h"
#include "grade/instructions/rule_sentences.h"
#include "grade/instructions/spanish.h"
#include "grade/instructions/syllables.h"
#include "grade/language.h"

namespace dure {
namespace {

using namespace instructions;  // NOLINT: the names of one folder

Item item_of(const std::string& ids, const std::string& kwargs) {
  Item item{.id = "1"};
  item.reference["instruction_id_list"] = parse_json(ids, "ids");
  item.reference["kwargs"] = parse_json(kwargs, "kwargs");
  return item;
}

std::optional<InstructionJudgement> judge_one(InstructionSet set, const std::string& id,
                                              const std::string& kwargs, std::string_view answer) {
  std::string why;
  const auto judged =
      judge_instructions(set, item_of("[\"" + id + "\"]", "[" + kwargs + "]"), answer, why);
  if (!judged) return std::nullopt;
  return judged->at(0);
}

bool ifeval(const std::string& id, const std::string& kwargs, std::string_view answer) {
  return judge_one(InstructionSet::kIfeval, id, kwargs, answer).value().strict;
}
bool ifbench(const std::string& id, const std::string& kwargs, std::string_view answer) {
  return judge_one(InstructionSet::kIfbench, id, kwargs, answer).value().strict;
}

std::vector<std::string> bytes_of(const std::vector<CharsView>& parts) {
  std::vector<std::string> out;
  for (const CharsView part : parts) out.push_back(utf8_of(part));
  return out;
}
std::vector<std::string> bytes_of(const std::vector<Chars>& parts) {
  std::vector<std::string> out;
  for (const Chars& part : parts) out.push_back(utf8_of(part));
  return out;
}
using Strings = std::vector<std::string>;

TEST(Characters, AsPythonSeesThem) {
  EXPECT_TRUE(all_upper(U"ÁÉ 12!"));
  EXPECT_FALSE(all_upper(U"12!"));
  EXPECT_FALSE(all_upper(U"AªB"));  // ª is small
  EXPECT_TRUE(all_lower(U"straße 3"));
  EXPECT_EQ(utf8_of(lower(chars_of("ΣΑΣ İ"))), "σας i̇");
  EXPECT_EQ(bytes_of(split(U" a\u3000b\x1C c ")), (Strings{"a", "b", "c"}));
  EXPECT_EQ(bytes_of(split_lines(U"a\r\nb\vc\n\nd\n")), (Strings{"a", "b", "c", "", "d"}));
  EXPECT_EQ(word_count(U"well-known don't हिन्दी"), 4 + 3);  // marks cut words
}

TEST(English, Sentences) {
  const auto cut = [](std::string_view text) {
    const Chars chars = chars_of(text);
    return bytes_of(english_sentences(chars));
  };
  EXPECT_EQ(cut("Dr. Roe left at 5 p.m. today. \"Why?\" asked Jo. (So.) Then J. Doe sang!"),
            (Strings{"Dr. Roe left at 5 p.m. today.", "\"Why?\"", "asked Jo.", "(So.)",
                     "Then J. Doe sang!"}));
  EXPECT_EQ(cut("Fruit, e.g. plums. 3. Rest"), (Strings{"Fruit, e.g.", "plums.", "3.", "Rest"}));
  EXPECT_EQ(cut("No end\n\nhere either"), (Strings{"No end\n\nhere either"}));
  EXPECT_EQ(cut("  "), (Strings{}));
}

TEST(English, Words) {
  const auto cut = [](std::string_view text) {
    const Chars chars = chars_of(text);
    return bytes_of(english_words(chars));
  };
  EXPECT_EQ(cut("\"I can't,\" he said: it's 3:30 -- cannot wait..."),
            (Strings{"``", "I", "ca", "n't", ",", "''", "he", "said", ":", "it", "'s", "3:30", "--",
                     "can", "not", "wait", "..."}));
  EXPECT_EQ(cut("**BOLD** (A/B) 50% wanna go?"), (Strings{"*", "*", "BOLD", "*", "*", "(", "A/B",
                                                          ")", "50", "%", "wan", "na", "go", "?"}));
}

TEST(English, SentencesByRule) {
  EXPECT_EQ(bytes_of(rule_sentences(U"Mr. X paid 1.50. \"Ok.\" Wait... See a.org! Ph.D. done?")),
            (Strings{"Mr. X paid 1.50.", "\"Ok\".", "Wait...", "See a.org!", "Ph.D. done?"}));
}

TEST(English, Syllables) {
  EXPECT_EQ(syllable_count(U"table"), 2);
  EXPECT_EQ(syllable_count(U"jumped"), 1);
  EXPECT_EQ(syllable_count(U"wanted"), 2);
  EXPECT_EQ(syllable_count(U"media"), 3);
  EXPECT_EQ(syllable_count(U"b2b"), 0);
}

TEST(Spanish, WordsAndWhiteSpace) {
  EXPECT_EQ(bytes_of(spanish_words(U"¡Hola, Sr. Gil!  Va\n\na EE.UU. y/o 3,5 km.")),
            (Strings{"¡", "Hola", ",", "Sr.", "Gil", "!", " ", "Va", "\n\n", "a", "EE.UU.", "y",
                     "/", "o", "3,5", "km", "."}));
}

TEST(Japanese, Sentences) {
  EXPECT_EQ(japanese_sentence_count(U"はい。「そう。」と言う！次の\n行？？\n\n（a。b）end"), 5);
  EXPECT_EQ(japanese_sentence_count(U"一。  \n二"), 2);
}

TEST(JsonText, AsPythonReads) {
  for (const CharsView good :
       {U"{}", U" [1, -0.5e+3, NaN, -Infinity]", U"\"\\ud800\"", U"{\"a\":[{}]}"})
    EXPECT_TRUE(is_json_text(strip(good))) << utf8_of(good);
  for (const CharsView bad : {U"", U"{,}", U"[1,]", U"01", U"1.", U"\"\n\"", U"{\"a\" 1}", U"[}",
                              U"+1", U"'a'", U"1 2", U"\"\\u12\"", U"tru"})
    EXPECT_FALSE(is_json_text(bad)) << utf8_of(bad);
  EXPECT_FALSE(is_json_text(Chars(1 << 20, U'[')));
}

TEST(Language, ScriptsAndStatistics) {
  EXPECT_EQ(language_of("오늘은 날씨가 좋습니다 OK"), "ko");
  EXPECT_EQ(language_of("今日は良い天気です。"), "ja");
  EXPECT_EQ(language_of("今天天气很好，我们去公园。"), "zh-cn");
  EXPECT_EQ(language_of("The weather is nice today and we walk to the park."), "en");
  EXPECT_EQ(language_of("THE WEATHER IS NICE TODAY AND WE WALK TO THE PARK."), "en");
  EXPECT_EQ(language_of("El tiempo es bueno hoy y vamos al parque con los niños."), "es");
  EXPECT_EQ(language_of("Сегодня хорошая погода, и мы идём в парк."), "ru");
  EXPECT_EQ(language_of("12 + 3 = 15 !?"), std::nullopt);
}

TEST(Ifeval, Kinds) {
  EXPECT_TRUE(ifeval("keywords:existence", R"({"keywords":["plum","PEAR"]})", "A pear, plums."));
  EXPECT_FALSE(ifeval("keywords:forbidden_words", R"({"forbidden_words":["plum"]})", "A Plum!"));
  EXPECT_TRUE(ifeval("keywords:forbidden_words", R"({"forbidden_words":["plum"]})", "Plums"));
  EXPECT_TRUE(ifeval("keywords:frequency",
                     R"({"keyword":"ab","frequency":2,"relation":"less than"})", "abc"));
  EXPECT_TRUE(ifeval("keywords:letter_frequency",
                     R"({"letter":"E","let_frequency":3,"let_relation":"at least"})", "eEe"));
  EXPECT_TRUE(ifeval("detectable_format:number_bullet_lists", R"({"num_bullets":3})",
                     "* a\n  - b\n\n*\nc\n** no **"));
  EXPECT_TRUE(ifeval("detectable_format:number_highlighted_sections", R"({"num_highlights":2})",
                     "*a* and **b** or ****"));
  EXPECT_TRUE(ifeval("detectable_format:multiple_sections",
                     R"({"section_spliter":"Part","num_sections":2})", "Part 1\nx\nPart2 y"));
  EXPECT_TRUE(ifeval("detectable_format:json_format", "{}", "```json\n{\"a\": 1}\n```"));
  EXPECT_TRUE(ifeval("detectable_format:title", "{}", "<<a>>"));
  EXPECT_FALSE(ifeval("detectable_format:title", "{}", "<< >>"));
  EXPECT_TRUE(
      ifeval("length_constraints:number_paragraphs", R"({"num_paragraphs":2})", "a\n***\nb\n***"));
  EXPECT_FALSE(
      ifeval("length_constraints:number_paragraphs", R"({"num_paragraphs":2})", "a *** *** b"));
  EXPECT_TRUE(ifeval("length_constraints:nth_paragraph_first_word",
                     R"({"num_paragraphs":2,"nth_paragraph":2,"first_word":"Then"})",
                     "One.\n\n\"then,\" two."));
  EXPECT_TRUE(
      ifeval("detectable_content:postscript", R"({"postscript_marker":"P.S."})", "x\n\np. s. y"));
  EXPECT_TRUE(ifeval("detectable_content:number_placeholders", R"({"num_placeholders":2})",
                     "[a] [\n] [b]"));
  EXPECT_TRUE(ifeval("combination:two_responses", "{}", "a\n******\nb"));
  EXPECT_FALSE(ifeval("combination:two_responses", "{}", "a******a"));
  EXPECT_TRUE(ifeval("startend:end_checker", R"({"end_phrase":"Bye."})", "Well, \"bye.\" "));
  EXPECT_TRUE(ifeval("startend:quotation", "{}", " \"x\" "));
  EXPECT_TRUE(ifeval("change_case:capital_word_frequency",
                     R"({"capital_frequency":3,"capital_relation":"less than"})",
                     "I saw U.S. men"));
  EXPECT_TRUE(ifeval("length_constraints:number_sentences",
                     R"({"num_sentences":2,"relation":"at least"})", "One. Two?"));
}

TEST(Ifeval, SpanishAndJapanese) {
  EXPECT_TRUE(
      ifeval("es:startend:end_checker", R"({"end_phrase":"Un saludo"})", "Fin.\nUn saludo."));
  EXPECT_TRUE(ifeval("es:punctuation:question_marks", "{}", "¿Qué?"));
  EXPECT_FALSE(ifeval("es:punctuation:question_marks", "{}", "Qué? ¿?"));
  EXPECT_TRUE(ifeval("es:special_character:enie", R"({"let_frequency":2})", "Año: ÑU."));
  EXPECT_TRUE(ifeval("ja:letters:furigana", "{}", "漢字（かんじ）です"));
  EXPECT_FALSE(ifeval("ja:letters:furigana", "{}", "漢字"));
  EXPECT_TRUE(ifeval("ja:letters:katakana_only", "{}", "カタカナ、12！"));
  EXPECT_FALSE(ifeval("ja:letters:katakana_only", "{}", "カタかナ"));
  EXPECT_TRUE(ifeval("ja:startend:sentence_unified_end", R"({"ending":"です"})",
                     "本です。「ああ。」これもです"));
  EXPECT_TRUE(ifeval("ja:detectable_format:number_numbered_lists", R"({"num_items":2})",
                     "1. 一\n\n2. 二\n3.三"));
}

TEST(Ifbench, Kinds) {
  EXPECT_TRUE(ifbench("count:conjunctions", R"({"small_n":3})", "and And and,"));  // as written
  EXPECT_TRUE(ifbench("format:sub-bullets", "{}", "no bullets at all"));
  EXPECT_FALSE(ifbench("format:sub-bullets", "{}", "* a\n* b - c"));
  EXPECT_TRUE(ifbench("format:options", R"({"options":"yes/no"})", "Yes."));
  EXPECT_FALSE(ifbench("format:options", R"j({"options":"a), b), c)"})j", "a"));
  EXPECT_TRUE(ifbench("format:line_indent", "{}", "a\n b\n\n  c"));
  EXPECT_TRUE(ifbench("format:parentheses", "{}", "([{(())}])"));
  EXPECT_TRUE(ifbench("format:quotes", "{}", "\"a 'b \"c\" d' e\""));
  EXPECT_TRUE(ifbench("format:emoji", "{}", "Hi 🙂. Yes! 😀"));
  EXPECT_FALSE(ifbench("format:emoji", "{}", "Hi. Yes 😀"));
  EXPECT_TRUE(ifbench("words:alphabet", "{}", "Yes, zebras are big"));
  EXPECT_TRUE(ifbench("words:prime_lengths", "{}", "It was again"));
  EXPECT_TRUE(ifbench("words:last_first", "{}", "I run. Run far! Far off?"));
  EXPECT_TRUE(ifbench("sentence:increment", R"({"small_n":2})", "Go. We go now."));
  EXPECT_TRUE(ifbench("repeat:repeat_span",
                      R"({"prompt_to_repeat":"a b c d","n_start":1,"n_end":3})", "B  c"));
  EXPECT_TRUE(ifbench("custom:multiples", "{}", "14,21,28,35,42,49"));
  EXPECT_TRUE(ifbench("custom:date_format_list", "{}", "1796-04-12, 1805-10-16"));
  EXPECT_TRUE(ifbench("custom:csv_quotes", "{}",
                      "\"StudentID\"\t\"Subject\"\t\"Grade\"\t\"Semester\"\t\"Score\"\n"
                      "\"1\"\t\"a\"\t\"b\"\t\"c\"\t\"2\"\n\"1\"\t\"a\"\t\"b\"\t\"c\"\t\"2\"\n"
                      "\"1\"\t\"a\"\t\"b\"\t\"c\"\t\"2\""));
}

TEST(Grader, StrictLooseAndEmpty) {
  const Item item = item_of(R"(["punctuation:no_comma", "startend:quotation"])", "[{}, {}]");
  const GraderTable table = standard_graders();
  const auto strict = make_grader(table, "ifeval", {}, "task t: grader");
  const auto loose =
      make_grader(table, parse_json(R"({"name":"ifeval","score":"loose"})", "t"), {}, "task t");
  const Answer answer{.content = "Well, here it is:\n\"text\""};
  const Grade grade = strict->grade(item, answer);
  EXPECT_EQ(grade.score, 0.0);
  EXPECT_EQ(
      grade.reason,
      "0 of 2 followed; not: punctuation:no_comma (a comma is there); startend:quotation (not "
      "in quotation marks)");
  EXPECT_EQ(grade.parts.at("loose_prompt").as_int(), 1);
  EXPECT_EQ(grade.parts.at("strict_instructions").as_double(), 0);
  EXPECT_EQ(loose->grade(item, answer).score, 1.0);
  EXPECT_EQ(loose->grade(item, {.content = " \n"}).score, 0.0);
}

TEST(Grader, RefusesItemsItCannotGrade) {
  const auto grader = make_grader(standard_graders(), "ifbench", {}, "task t: grader");
  for (const Item& item :
       {Item{.id = "1"}, item_of(R"(["no:kind"])", "[{}]"), item_of(R"(["count:numbers"])", "[{}]"),
        item_of(R"(["count:numbers"])", R"([{"N":"two"}])"), item_of(R"(["count:numbers"])", "[]")})
    EXPECT_THROW(grader->check(item), Error);
  const auto other = make_grader(standard_graders(), "ifeval", {}, "task t: grader");
  EXPECT_THROW(other->check(item_of(R"(["keywords:existence"])", R"([{"keywords":["(a"]}])")),
               Error);
  EXPECT_THROW(make_grader(standard_graders(), parse_json(R"({"name":"ifeval","scores":1})", "t"),
                           {}, "task t"),
               Error);
}

TEST(Grader, CostlyKeywordsCannotBeTold) {
  const auto grader = make_grader(standard_graders(), "ifeval", {}, "task t: grader");
  const Item item = item_of(R"(["keywords:existence"])", R"([{"keywords":["(a+)+$"]}])");
  EXPECT_FALSE(grader->grade(item, {.content = std::string(4000, 'a') + "b"}).score.has_value());
}

// Arguments that suit every kind.
constexpr const char* kAllArguments = R"({"keywords":["ab","c"], "forbidden_words":["ab"],
  "keyword":"ab", "frequency":2, "relation":"at least", "letter":"a", "let_frequency":2,
  "let_relation":"less than", "language":"fr", "capital_relation":"at least",
  "capital_frequency":2, "num_sentences":3, "num_words":9, "num_placeholders":1, "num_bullets":2,
  "num_highlights":1, "num_sections":2, "section_spliter":"Part", "num_paragraphs":2,
  "nth_paragraph":1, "first_word":"ab", "postscript_marker":"P.S.", "prompt_to_repeat":"a b c d",
  "end_phrase":"the end", "count":1, "num_items":2, "num_letters":9, "kanji_limit":2,
  "ending":"です", "N":3, "small_n":2, "min_words":1, "max_words":9, "percentage":50,
  "reference_text":"abcdef", "keyword1":"a", "keyword2":"b", "keyword3":"c", "keyword4":"d",
  "keyword5":"e", "options":"a/b", "sep":"...", "word":"ab", "n":1, "m":2, "n_start":1, "n_end":2})";

std::vector<std::pair<InstructionSet, Item>> all_kinds() {
  std::vector<std::pair<InstructionSet, Item>> out;
  for (const auto& [set, kinds] : {std::pair(InstructionSet::kIfeval, &ifeval_kinds()),
                                   std::pair(InstructionSet::kIfbench, &ifbench_kinds())}) {
    for (const auto& [id, maker] : *kinds) {
      Json arguments = parse_json(kAllArguments, "arguments");
      if (id == "ja:keywords:letter_frequency") arguments["letter"] = "か";
      out.emplace_back(set, item_of("[\"" + id + "\"]", "[" + arguments.dump() + "]"));
    }
  }
  return out;
}

TEST(Robust, AllKindsAreThere) {
  EXPECT_EQ(ifbench_kinds().size(), 58U);
  EXPECT_EQ(ifeval_kinds().size(), 2 * 25U + 30U + 33U);
}

std::string random_text(Rng& rng) {
  static const Strings pieces = {
      "ab",   "Part 1",      "***",     "******",  "\"",  "'",       ". ",      "?!",  "<<",
      ">>",   "\n",          "\n\n",    "* ",      "- ",  "[",       "]",       "(",   "{",
      "}",    "Question 1.", "の\n",    "「",      "」",  "漢",      "（",      "か",  "）",
      "🙂", "İ",           "Σ",       "...",     "\r",  "\t",      "P.S.",    "Dr.", "cannot",
      "\xFF", "\xE3\x81",    "```json", "{\"a\":", "1,5", "http://", "Zimbabwe"};
  std::string out;
  const int64_t count = rng.below(40);
  for (int64_t i = 0; i < count; ++i) {
    if (rng.below(4) == 0)
      out += static_cast<char>(rng.below(256));
    else
      out += pieces[static_cast<size_t>(rng.below(static_cast<int64_t>(pieces.size())))];
  }
  return out;
}

TEST(Robust, AnyBytes) {
  Rng rng(15);
  const auto kinds = all_kinds();
  std::string why;
  for (int round = 0; round < 60; ++round) {
    const std::string text = random_text(rng);
    for (const auto& [set, item] : kinds) judge_instructions(set, item, text, why);
  }
}

// What would take steps by the square of the size shows at this size already: a second instead of a
// hundredth. (Of a megabyte no kind takes one second a reading.)
TEST(Robust, LargeAnswersInBoundedTime) {
  const auto kinds = all_kinds();
  std::string why;
  for (const std::string piece : {"\n", " ", "*", "\"", "a", ". ", "<<", "「", "[\n", "の\n",
                                  "1.\n", "a.b.", "'s ", "``", "\" \n", "x. \""}) {
    std::string text;
    while (text.size() < (1 << 15)) text += piece;
    for (const auto& [set, item] : kinds) {
      const auto start = std::chrono::steady_clock::now();
      judge_instructions(set, item, text, why);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      EXPECT_LT(took.count(), 5) << item.reference.dump().substr(0, 70) << " on "
                                 << json_quote(piece);
    }
  }
}

}  // namespace
}  // namespace dure

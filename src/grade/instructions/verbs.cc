// Verbs by list where the base form opens a request, by ending elsewhere.
#include "grade/instructions/verbs.h"

#include <unordered_set>

namespace dure::instructions {
namespace {

const std::unordered_set<CharsView>& base_verbs() {
  static const std::vector<CharsView> list = split(
      U"accept access achieve acquire act adapt add address adjust adopt advise aim allow alter "
      U"analyze analyse announce answer apply appreciate approach arrange arrive ask assemble "
      U"assess "
      U"assign assist assume attach attempt attend avoid bake be become begin believe boil book "
      U"boost "
      U"borrow bring browse build buy calculate call calm capture care carry catch celebrate "
      U"change "
      U"charge check choose chop clarify clean click climb close collaborate collect combine come "
      U"compare compile complete compose conduct confirm connect consider construct consult "
      U"contact "
      U"contain continue contribute convert cook cool copy count cover craft create cultivate cut "
      U"dance "
      U"decide declare decorate decrease define delete deliver demonstrate describe design "
      U"determine "
      U"develop devise dig discover discuss display divide do draft draw dream drink drive drop "
      U"earn "
      U"eat edit educate eliminate embark embrace emphasize employ empower enable encourage engage "
      U"enhance enjoy ensure enter establish estimate evaluate evolve examine execute exercise "
      U"expand "
      U"expect experience experiment explain explore express extend extract face fall feed feel "
      U"fetch "
      U"figure fill find finish fix fly focus fold follow forget form formulate foster gather "
      U"generate "
      U"get give go grab grasp grow guess guide handle hang harness have hear help hide highlight "
      U"hire "
      U"hold identify ignore illustrate imagine implement import improve include incorporate "
      U"increase "
      U"indulge inform initialize insert inspect install introduce invest investigate invite join "
      U"journey jump keep know launch lead leap learn leave lend let leverage lie lift limit link "
      U"list "
      U"listen live load locate look lose love maintain make manage mark master maximize measure "
      U"meet "
      U"mention merge mind minimize mix model modify monitor motivate move multiply name navigate "
      U"need "
      U"note notice observe obtain offer open operate optimize order organize outline overcome "
      U"pack "
      U"paint pause pay perform pick place plan plant play ponder pour practice prepare present "
      U"preserve press prevent print prioritize proceed process produce promote protect prove "
      U"provide "
      U"publish pull purchase pursue push put raise reach read realize recall receive recognize "
      U"recommend record reduce refer refine reflect refuse register reimagine relax release rely "
      U"remain remember remind remove rename repeat replace reply report represent request require "
      U"research reserve resolve respect respond rest restore retrieve return reveal review revise "
      U"ride rinse rise roll run save say schedule search season secure see seek select sell send "
      U"separate serve set share shift shop show sign simplify simulate sing sip sit skip sleep "
      U"slice "
      U"smile solve sort speak specify spend split spread spring sprinkle stand start state stay "
      U"steal "
      U"step stir stop store strengthen stretch strive study submit substitute subtract suggest "
      U"summarize support suppose surround survey sustain swim switch take talk taste teach tell "
      U"test "
      U"thank think throw toss touch track trade train transfer transform translate travel treat "
      U"trust try turn type understand unite unleash unlock unveil update upgrade uplift use "
      U"utilize "
      U"validate verify view visit visualize wait wake walk want warm wash watch wear weave "
      U"welcome "
      U"whip whisk wish witness wonder work write yield");
  static const std::unordered_set<CharsView> verbs(list.begin(), list.end());
  return verbs;
}

const std::unordered_set<CharsView>& other_forms() {
  static const std::unordered_set<CharsView> forms = {
      U"am",    U"is",   U"are",     U"was",  U"were",  U"been",  U"has",     U"had",  U"does",
      U"did",   U"got",  U"went",    U"came", U"saw",   U"said",  U"made",    U"took", U"given",
      U"known", U"born", U"founded", U"lost", U"found", U"built", U"thought", U"felt"};
  return forms;
}

const std::unordered_set<CharsView>& not_verbs() {
  static const std::unordered_set<CharsView> words = {
      U"during",  U"nothing", U"something", U"anything",  U"everything", U"morning",
      U"evening", U"ceiling", U"wedding",   U"building",  U"pudding",    U"spring",
      U"string",  U"sibling", U"indeed",    U"hundred",   U"sacred",     U"naked",
      U"wicked",  U"speed",   U"breed",     U"regarding", U"according",  U"excluding"};
  return words;
}

}  // namespace

bool is_opening_verb(const std::vector<Chars>& words) {
  const Chars word = lower(words[0]);
  if (not_verbs().contains(word)) return false;
  if (base_verbs().contains(word) || other_forms().contains(word)) return true;
  return (word.size() > 5 && word.ends_with(U"ing")) || (word.size() > 4 && word.ends_with(U"ed"));
}

}  // namespace dure::instructions

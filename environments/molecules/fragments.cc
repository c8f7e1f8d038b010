// A fragment's text is SMILES that begins with the atom which its parent bonds to; '*' is a site on
// carbon, '^' one on another atom, where only carbon may hang. Ring digits are numbered by depth.
#include "molecules/fragments.h"

#include <array>
#include <cctype>

namespace dure::molecules {
namespace {

struct Fragment {
  const char* text;
  bool carbon;  // its first atom
  bool end;     // has no site
};

constexpr std::array<Fragment, 56> kFragments = {{
    {"c1cc*cc*c1", true, false},
    {"c1c*cc*cc1", true, false},
    {"c1cc*c*cc1*", true, false},
    {"c1ccc*cn1", true, false},
    {"c1cnc*cc1", true, false},
    {"c1cc*ncc1*", true, false},
    {"c1nc*ncc1", true, false},
    {"c1cc*sc1", true, false},
    {"c1cc*oc1", true, false},
    {"n1cc*cn1", false, false},
    {"c1c[nH]nc1*", true, false},
    {"c1nc*cs1", true, false},
    {"c1cc*no1", true, false},
    {"c1nnc*o1", true, false},
    {"n1cnc*c1", false, false},
    {"c1cc2cc*ccc2[nH]1", true, false},
    {"c1cc2cc*ccc2o1", true, false},
    {"c1nc2cc*ccc2[nH]1", true, false},
    {"c1ccc2nc*ccc2c1", true, false},
    {"c1ccc2cc*ccc2c1", true, false},
    {"C1CCC*CC1", true, false},
    {"C1CCC*C1", true, false},
    {"C1CC1*", true, false},
    {"N1CCC*CC1", false, false},
    {"N1CCN^CC1", false, false},
    {"N1CCOCC1", false, true},
    {"N1CCC*C1", false, false},
    {"C1CCOCC1", true, true},
    {"C1CCN^CC1", true, false},
    {"C1COC1", true, true},
    {"C*", true, false},
    {"CC*", true, false},
    {"C(C)*", true, false},
    {"O^", false, false},
    {"N^", false, false},
    {"C(=O)N^", true, false},
    {"C(=O)*", true, false},
    {"NC(=O)*", false, false},
    {"S(=O)(=O)*", true, false},
    {"NS(=O)(=O)*", false, false},
    {"C(=O)O^", true, false},
    {"CO^", true, false},
    {"CN^", true, false},
    {"N(C)^", false, false},
    {"F", false, true},
    {"Cl", false, true},
    {"C", true, true},
    {"CC", true, true},
    {"C(C)C", true, true},
    {"OC", false, true},
    {"O", false, true},
    {"N", false, true},
    {"C#N", true, true},
    {"C(F)(F)F", true, true},
    {"C(N)=O", true, true},
    {"N(C)C", false, true},
}};
constexpr int kRings = 30;  // the first ones
constexpr int kDepthMax = 4;
constexpr int kFragmentsMax = 9;
constexpr Tree kNothing = {-1, {}};

std::vector<char> sites_of(int fragment) {
  std::vector<char> sites;
  for (const char* c = kFragments[fragment].text; *c != 0; ++c)
    if (*c == '*' || *c == '^') sites.push_back(*c);
  return sites;
}

Tree bare(int fragment) {
  return {fragment, std::vector<Tree>(sites_of(fragment).size(), kNothing)};
}

int draw_fragment(char site, int depth, Rng& rng) {
  while (true) {
    const bool ring = depth == 0 || rng.uniform() < 0.3;
    const auto count = static_cast<int64_t>(kFragments.size());
    const int i = static_cast<int>(ring ? rng.below(kRings) : rng.between(kRings, count - 1));
    if (site == '^' && !kFragments[i].carbon) continue;
    if (depth >= kDepthMax && !kFragments[i].end) continue;
    if (depth == 0 && (kFragments[i].end || !kFragments[i].carbon)) continue;
    return i;
  }
}

Tree draw_branch(char site, int depth, Rng& rng) {
  Tree tree = bare(draw_fragment(site, depth, rng));
  const std::vector<char> sites = sites_of(tree.fragment);
  // Links go on; rings often do.
  const double chance = tree.fragment >= kRings ? 0.95 : depth == 0 ? 0.75 : 0.45;
  for (size_t i = 0; i < sites.size(); ++i)
    if (rng.uniform() < chance) tree.children[i] = draw_branch(sites[i], depth + 1, rng);
  return tree;
}

// A place in a tree: what stands there, under which kind of site, how deep.
struct Place {
  Tree* tree;
  char site;
  int depth;
};

void list_places(Tree& tree, int depth, std::vector<Place>& places) {
  const std::vector<char> sites = sites_of(tree.fragment);
  for (size_t i = 0; i < sites.size(); ++i) {
    places.push_back({&tree.children[i], sites[i], depth + 1});
    if (tree.children[i].fragment >= 0) list_places(tree.children[i], depth + 1, places);
  }
}

void write_ring(int number, std::string& out) {
  if (number >= 10) out += '%';
  out += std::to_string(number);
}

void write(const Tree& tree, int& rings, std::string& out) {
  const int first = rings;
  int own = 0;
  for (const char* c = kFragments[tree.fragment].text; *c != 0; ++c)
    if (std::isdigit(static_cast<unsigned char>(*c)) != 0) own = std::max(own, *c - '0');
  rings += own;
  size_t child = 0;
  for (const char* c = kFragments[tree.fragment].text; *c != 0; ++c) {
    if (std::isdigit(static_cast<unsigned char>(*c)) != 0) {
      write_ring(first + (*c - '0'), out);
    } else if (*c != '*' && *c != '^') {
      out += *c;
    } else if (const Tree& below = tree.children[child++]; below.fragment >= 0) {
      out += '(';
      write(below, rings, out);
      out += ')';
    }
  }
}

Tree limited(Tree tree, const Tree& otherwise) {
  return tree.size() <= kFragmentsMax ? std::move(tree) : otherwise;
}

}  // namespace

int Tree::size() const {
  if (fragment < 0) return 0;
  int count = 1;
  for (const Tree& child : children) count += child.size();
  return count;
}

Tree draw_tree(Rng& rng) {
  while (true) {
    Tree tree = draw_branch('*', 0, rng);
    if (tree.size() >= 2 && tree.size() <= kFragmentsMax) return tree;
  }
}

Tree mutate(const Tree& tree, Rng& rng) {
  Tree changed = tree;
  std::vector<Place> places;
  list_places(changed, 0, places);
  if (places.empty() || rng.uniform() < 0.1) return draw_tree(rng);
  const Place place = places[rng.below(static_cast<int64_t>(places.size()))];
  const bool away = place.tree->fragment >= 0 && rng.uniform() < 0.3;
  *place.tree = away ? kNothing : draw_branch(place.site, place.depth, rng);
  return limited(std::move(changed), tree);
}

Tree cross(const Tree& tree, const Tree& other, Rng& rng) {
  Tree changed = tree;
  Tree source = other;
  std::vector<Place> places;
  std::vector<Place> branches;
  list_places(changed, 0, places);
  list_places(source, 0, branches);
  for (int attempt = 0; attempt < 10 && !places.empty() && !branches.empty(); ++attempt) {
    const Place to = places[rng.below(static_cast<int64_t>(places.size()))];
    const Place from = branches[rng.below(static_cast<int64_t>(branches.size()))];
    if (from.tree->fragment < 0) continue;
    if (to.site == '^' && !kFragments[from.tree->fragment].carbon) continue;
    *to.tree = *from.tree;
    return limited(std::move(changed), tree);
  }
  return changed;
}

std::string smiles_of(const Tree& tree) {
  std::string out;
  int rings = 0;
  write(tree, rings, out);
  return out;
}

}  // namespace dure::molecules

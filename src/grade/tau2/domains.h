// grade/tau2/domains.h: the domains of tau2 that can be played, by name.
//
// Owns the table, and what several domains say alike. A further domain is a row here and a file
// with its state and its functions. Not here: where the files lie (suite/), the functions (a file a
// domain: mock.cc, telecom.cc, ...).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "grade/tau2/function_table.h"
#include "grade/tau2/world.h"

namespace dure {

// `database`, `user_database`: what the domain's files hold. Throw kInvalidArgument naming the file
// and the place.
using Tau2WorldMaker = std::unique_ptr<Tau2World> (*)(const Json& database,
                                                      const Json& user_database);
struct Tau2DomainRow {
  std::string_view name;
  Tau2WorldMaker world;
};
const std::vector<Tau2DomainRow>& tau2_domains();

std::unique_ptr<Tau2World> tau2_mock_world(const Json& database, const Json& user_database);
std::unique_ptr<Tau2World> tau2_telecom_world(const Json& database, const Json& user_database);
std::unique_ptr<Tau2World> tau2_retail_world(const Json& database, const Json& user_database);
std::unique_ptr<Tau2World> tau2_airline_world(const Json& database, const Json& user_database);

// The tool that hands a customer over, in every domain.
Tau2Signature tau2_transfer();
inline constexpr const char* kTau2Transferred = "Transfer successful";

// The tool that calculates, where a domain has it. Source: toolkit.py (commit 6fb1fab5).
Tau2Signature tau2_calculate();
Json tau2_calculated(const Json& arguments);
double rounded_to_cents(double value);  // Python's round(value, 2)

}  // namespace dure

// eval/report_style.h: how the report looks: one style sheet for desk, phone, light and dark.
//
// Owns the colours s0 ... s7 of the charts, which people of any colour vision tell apart (Okabe and
// Ito, "Color universal design", 2008, darkened on light paper and lightened on dark). Not here:
// the shapes and dashes that say the same without colour (chart.h).
#pragma once

namespace dure {

extern const char* const kReportStyle;  // the inside of <style>

}  // namespace dure

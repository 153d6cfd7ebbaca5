/** Words of the views of calls: live, ladder, records, phone. */
export const en = {
  'nav.live': 'Live calls',
  'nav.records': 'Call records',
  'nav.phone': 'Phone',
} as const;

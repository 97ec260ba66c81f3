/**
 * The newest migration that this release's code relies on: the number that its file in services/writer/migrations begins with. A database
 * may be newer (the hook of the next release has run) but not older.
 */
export const SCHEMA_VERSION = 3;

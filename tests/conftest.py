"""The real servers that tests run against; each starts when a test first asks for it."""

pytest_plugins = ["tests.fixtures.postgres", "tests.fixtures.redis", "tests.fixtures.lab", "tests.fixtures.browser"]

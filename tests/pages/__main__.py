"""Write the papers' pages and the tables of README anew."""

from tests.pages import README, page_of, place_of, readme_of, studied

for paper in studied():
    place_of(paper).write_text(page_of(paper), encoding="utf-8")
README.write_text(readme_of(README.read_text(encoding="utf-8")), encoding="utf-8")

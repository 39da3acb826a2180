-- Visits of each day of the year, days without a visit too.
WITH RECURSIVE days(day) AS (
  SELECT 1 UNION ALL SELECT day + 1 FROM days WHERE day < 20000
)
SELECT days.day, count(visits.day) FROM days
LEFT JOIN visits ON visits.day = days.day
GROUP BY days.day HAVING days.day BETWEEN 1 AND 365
